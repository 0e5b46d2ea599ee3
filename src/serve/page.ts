/** The files of the page, by their paths. */
export interface Asset {
  /** Its media type, with the charset. */
  readonly type: string;
  readonly body: string | Uint8Array;
}

/** @returns null if there is no such file */
export function page(_path: string): Asset | null {
  return null;
}
