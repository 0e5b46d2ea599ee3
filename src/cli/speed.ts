/** How fast work goes: the average since its bytes last began anew, in bytes a second. */
export function speedometer(): (bytesDone: number) => number {
  let began = performance.now();
  let last = 0;
  return (bytesDone) => {
    if (bytesDone < last) began = performance.now();
    last = bytesDone;
    const seconds = (performance.now() - began) / 1000;
    return seconds > 0.1 ? Math.round(bytesDone / seconds) : 0;
  };
}
