// SPDX-License-Identifier: Apache-2.0
// The agent's configuration: defaults, aliases of old and wished-for keys, refusals that name key, value and choices.
// Plain values in, plain values out.
import { describe, expect, test } from '@jest/globals';
import { parseConfig, parseDurationMs } from './config.ts';
import { parseCommandLine } from '@cilium-ts/config';

describe('parseConfig', () => {
  test('fills in defaults and lists unknown keys', () => {
    const config = parseConfig({ 'no-such-key': '1', 'bpf-policy-map-max': '512' });
    expect(config.unknown).toEqual(['no-such-key']);
    expect(config.number('bpf-policy-map-max')).toBe(512);
    expect(config.durationMs('bpf-ct-timeout-regular-tcp')).toBe(8_000_000);
  });

  test('accepts the old spellings', () => {
    const config = parseConfig({
      tunnel: 'disabled',
      'kube-proxy-replacement': 'strict',
      'enable-spire': 'true',
      'spire-agent-socket': '/run/s.sock',
    });
    expect(config.text('routing-mode')).toBe('native');
    expect(config.bool('kube-proxy-replacement')).toBe(true);
    expect(config.bool('kube-proxy-replacement-strict')).toBe(true);
    expect(config.warnings.join()).toContain('mesh-auth-enabled=true is accepted');
    expect(config.unknown).toEqual([]);
  });

  test.each([
    ['enable-ipv4', 'yes'],
    ['bpf-policy-map-max', '255'],
    ['tunnel', 'vxlan'],
    ['bpf-map-dynamic-size-ratio', '0'],
    ['ipv4-native-routing-cidr', '10.0.0.0/33'],
    ['monitor-aggregation-interval', '5 apples'],
  ])('refuses %s=%s by name', (key, value) => {
    expect(() => parseConfig({ [key]: value })).toThrow(new RegExp(`${key} has value "${value}"; allowed: `));
  });
});

test('durations add up and refuse the rest', () => {
  expect(parseDurationMs('1h30m')).toBe(5_400_000);
  expect(parseDurationMs('500ms')).toBe(500);
  expect(parseDurationMs('5')).toBeUndefined();
});

test('the command line knows three ways to give a value', () => {
  expect(parseCommandLine(['--config-dir=/c', '--debug', '--devices', 'eth0'])).toEqual({
    configDirectory: '/c',
    flags: { debug: 'true', devices: 'eth0' },
  });
  expect(() => parseCommandLine(['debug'])).toThrow('unexpected argument "debug"');
});
