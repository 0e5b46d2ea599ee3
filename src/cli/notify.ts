/**
 * Tells systemd how a service of `Type=notify` is doing. Node.js cannot send datagrams to a socket in the
 * file system; systemd's own command does. It is a process of its own: the unit needs `NotifyAccess=all`.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** `READY=1`: it does what it is for; `STOPPING=1`; `STATUS=…`: a line for `systemctl status`. */
export type ServiceState = "READY=1" | "STOPPING=1" | `STATUS=${string}`;

/** Does nothing unless systemd asked. @throws if systemd's command is not there, or fails */
export async function notify(...states: ServiceState[]): Promise<void> {
  if (!process.env["NOTIFY_SOCKET"]) return;
  await promisify(execFile)("systemd-notify", states);
}
