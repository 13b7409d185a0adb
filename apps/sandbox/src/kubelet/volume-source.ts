// SPDX-License-Identifier: Apache-2.0

/** Where a volume's content lies; mounts of it refer to this. */
export interface VolumeSource {
  readonly where: 'machine' | 'node';
  readonly path: string;
  readonly readOnly: boolean;
  readonly create?: 'dir-create' | 'file-create' | undefined;
}
