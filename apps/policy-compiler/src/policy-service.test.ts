// SPDX-License-Identifier: Apache-2.0
// Tested: the gRPC service over a real socket; texts as protobuf messages. How: a client of the same definition.
import { Client, credentials } from '@grpc/grpc-js';
import { expect, test } from '@jest/globals';
import { PolicyEngine } from '@cilium-ts/policy';
import type { Compiler } from './compiler.ts';
import { POLICY_COMPILER_SERVICE, PolicyService } from './policy-service.ts';
import { decodeText, encodeText } from './text-message.ts';

const socket = `unix:///tmp/ctst-${process.pid}-policy.sock`;

function call(client: Client, method: string, request: object): Promise<unknown> {
  const { path, requestSerialize, responseDeserialize } = POLICY_COMPILER_SERVICE[method]!;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      JSON.stringify(request),
      (error, answer) => (error ? reject(error) : resolve(JSON.parse(answer as string))),
    );
  });
}

test('Validate names problems, Explain decides, bad requests are refused', async () => {
  const engine = new PolicyEngine({ cluster: 'default' });
  engine.compile();
  const service = await new PolicyService({ engine } as Compiler).start(socket);
  const client = new Client(socket, credentials.createInsecure());
  try {
    const object = { kind: 'CiliumNetworkPolicy', metadata: { name: 'p' }, spec: { endpointSelector: {} } };
    expect(await call(client, 'Validate', object)).toMatchObject({
      valid: false,
      problems: [{ path: 'spec' }],
    });
    const flow = { identity: 5, remoteIdentity: 2, direction: 'egress', protocol: 'TCP', port: 80 };
    expect(await call(client, 'Explain', flow)).toMatchObject({ verdict: 'default-deny' });
    await expect(call(client, 'Explain', {})).rejects.toThrow(
      'identity, remoteIdentity, protocol and port are needed',
    );
    await expect(call(client, 'Validate', { kind: 'Pod' })).rejects.toThrow('is not one of');
  } finally {
    client.close();
    service.stop();
  }
});

test.each([0, 1, 127, 128, 20_000])('a text of %i characters survives', (length) =>
  expect(decodeText(encodeText('x'.repeat(length)))).toBe('x'.repeat(length)),
);
