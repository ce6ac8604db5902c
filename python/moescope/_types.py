"""Types that many modules name."""

from typing import Any, Callable, Dict

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DType = np.dtype[Any]

#: A table's columns by name, all of one length.
Columns = Dict[str, Array]

#: Token ids -> their texts, as objects; None where unknown.
Texts = Callable[[Array], Array]
