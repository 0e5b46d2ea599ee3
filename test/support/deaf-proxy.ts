/** A way to a server on which answers can get lost, while what is sent arrives. */
import { once } from "node:events";
import net from "node:net";
import type { Ending } from "../scratch.ts";

export class DeafProxy {
  /** Nothing comes back any more. */
  isDeaf = false;
  readonly port: number;

  private constructor(port: number) {
    this.port = port;
  }

  static async start(t: Ending, target: number): Promise<DeafProxy> {
    const sockets = new Set<net.Socket>();
    const server = net.createServer((client) => {
      const upstream = net.connect(target, "127.0.0.1");
      for (const each of [client, upstream]) {
        sockets.add(each);
        each.on("error", () => {});
        each.on("close", () => {
          client.destroy();
          upstream.destroy();
        });
      }
      client.pipe(upstream);
      upstream.on("data", (bytes) => {
        if (!proxy.isDeaf) client.write(bytes);
      });
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const proxy = new DeafProxy((server.address() as net.AddressInfo).port);
    t.after(() => {
      for (const each of sockets) each.destroy();
      server.close();
    });
    return proxy;
  }
}
