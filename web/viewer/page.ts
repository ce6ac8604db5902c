// Shows a page as a report carries it: the document of `moescope report`, with the data in its place.

const dataMark = '<script type="application/moescope" id="data"></script>';
const policyMeta = /<meta\s+http-equiv="Content-Security-Policy"[^>]*>/;

// The page lies in the viewer as text; what would end the element around it was replaced (cmake/JoinViewer.cmake).
export function pageTemplate(): string {
  return document.getElementById('page')!.textContent!.trim().replaceAll('<~/script', '</script');
}

// Writes the document anew: with the old one go its elements and listeners. The viewer's own policy stays in force, which lets
// the page's script run and nothing connect; the page's own would forbid the viewer's.
export function showPage(template: string, data: string): void {
  if (!template.includes(dataMark)) throw new Error('the page in this viewer has no place for data');
  const [before, after] = template.replace(policyMeta, '').split(dataMark);
  document.open();
  document.write(before + dataMark.replace('></', () => `>${data}</`) + after);
  document.close();
}
