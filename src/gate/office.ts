/** Which timeline a primary is on, and how a replica that is opened as one gets there. */
import type { Primary } from "./primary.ts";

export function timelineToBe({ sidecar }: Primary): number {
  const { role, timeline } = sidecar.state;
  return role === "primary" ? timeline : timeline + 1;
}

/** A replica that is opened as a primary is promoted by that: its old primary is fenced. */
export function takeOffice(primary: Primary): void {
  const { sidecar, position } = primary;
  if (sidecar.state.role === "primary") return;
  const timeline = timelineToBe(primary);
  sidecar.update(
    { role: "primary", timeline },
    {
      event: ["promoted", `opened as a primary, timeline ${timeline}`],
      history: [position], // where the timelines part
    },
  );
  primary.position = { ...position, timeline };
}
