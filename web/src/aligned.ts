// Numbers of one column: all with as many decimals, so that they can be compared by eye.

type Text = (v: number | null | undefined) => string;

const known = (v: number | null | undefined): v is number => v !== null && v !== undefined && !Number.isNaN(v);

function withDecimals(decimals: number, unit: string): Text {
  const least = 10 ** -decimals;
  return (v) => {
    if (!known(v)) return '–';
    if (v !== 0 && Math.abs(v) < least / 2) return `<${least.toFixed(decimals)}${unit}`;
    return v.toFixed(decimals) + unit;
  };
}

// So many decimals that the largest value of the column has this many figures.
export function reals(column: ArrayLike<number | null>, figures = 4): Text {
  let most = 0;
  for (let i = 0; i < column.length; i++) {
    const v = column[i];
    if (known(v) && Number.isFinite(v)) most = Math.max(most, Math.abs(v));
  }
  const before = most > 0 ? Math.floor(Math.log10(most)) + 1 : 1;
  return withDecimals(Math.min(8, Math.max(0, figures - Math.max(before, most >= 0.1 ? 1 : before))), '');
}
// One decimal, or two where all are below 10 %.
export function percents(column: ArrayLike<number | null>): Text {
  let most = 0;
  for (let i = 0; i < column.length; i++) if (known(column[i])) most = Math.max(most, column[i]!);
  const text = withDecimals(most < 0.0995 ? 2 : 1, ' %');
  return (v) => text(known(v) ? v * 100 : v);
}
export const ratios: Text = withDecimals(2, '×');
