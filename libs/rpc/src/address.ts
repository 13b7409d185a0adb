// SPDX-License-Identifier: Apache-2.0
import { AppError } from '@cilium-ts/base';

const UNIX = /^unix:(?:\/\/)?(\/.+)$/;

/** Path of `unix:///path` or `unix:/path`; undefined for other addresses. */
export function unixPath(address: string): string | undefined {
  return UNIX.exec(address)?.[1];
}

/** `:4244`, `4244`-less hosts and the like as gRPC wants to bind them. @throws AppError `bad-address` */
export function listenTargets(address: string): readonly string[] {
  const path = unixPath(address);
  if (path !== undefined) return [`unix:${path}`];
  const match = /^(.*):(\d{1,5})$/.exec(address);
  if (!match || Number(match[2]) > 65_535) {
    throw new AppError(
      'bad-address',
      `bad listen address ${JSON.stringify(address)}: use :PORT, HOST:PORT or unix:///PATH`,
    );
  }
  // Machines without IPv6 refuse the first.
  return match[1] === '' ? [`[::]:${match[2]}`, `0.0.0.0:${match[2]}`] : [address];
}

/** As a gRPC channel wants it; `tls://` is refused where only plain text is spoken. */
export function dialTarget(address: string): string {
  const path = unixPath(address);
  if (path !== undefined) return `unix:${path}`;
  if (address.startsWith('tls://')) {
    throw new AppError('tls-unsupported', `${address}: TLS is not supported by this version`);
  }
  return address.startsWith(':') ? `localhost${address}` : address;
}
