/** What this process has open, of whatever thread. */
import fs from "node:fs";

const DESCRIPTORS = "/proc/self/fd";

/** Are descriptors listed here? On Linux only. */
export const areListed = fs.existsSync(DESCRIPTORS);

/** The paths of open files that begin so, sorted: one for each descriptor. None where they are not listed. */
export function openBelow(beginning: string): string[] {
  const links = (areListed ? fs.readdirSync(DESCRIPTORS) : []).map((fd) => {
    try {
      return fs.readlinkSync(`${DESCRIPTORS}/${fd}`);
    } catch {
      return ""; // closed meanwhile, for instance that of the directory itself
    }
  });
  return links.filter((link) => link.startsWith(beginning)).sort();
}
