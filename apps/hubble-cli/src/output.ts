// SPDX-License-Identifier: Apache-2.0
// Lines to standard output, many per write, at the reader's pace.
import { formatColumns } from '@cilium-ts/terminal';
import {
  compactFlow,
  dictFlow,
  formatTime,
  jsonResponse,
  lostText,
  nodeStatusText,
  tableFlow,
  tableHead,
  type OutputFormat,
  type PrintOptions,
} from '@cilium-ts/flow';
import type { GetFlowsResponse, NodeStatusEvent } from '@cilium-ts/proto';

const DICT_LINE = '------------';

export interface Sink {
  out(text: string): void;
  err(text: string): void;
}

/** One response after the other; `end` prints what had to wait (a table). */
export class FlowPrinter {
  readonly #format: OutputFormat;
  readonly #options: PrintOptions;
  readonly #sink: Sink;
  readonly #rows: string[][] = [];
  #printed = 0;

  constructor(format: OutputFormat, options: PrintOptions, sink: Sink) {
    this.#format = format;
    this.#options = options;
    this.#sink = sink;
  }

  print(response: GetFlowsResponse): void {
    const inner = response.responseTypes;
    if (this.#format === 'json' || this.#format === 'jsonpb') {
      this.#sink.out(`${jsonResponse(response)}\n`);
      return;
    }
    switch (inner?.$case) {
      case 'flow':
        return this.#flow(inner.value);
      case 'lostEvents':
        return this.#special(
          formatTime(response.time, this.#options.time),
          lostText(inner.value, this.#options),
          inner,
        );
      case 'nodeStatus':
        return this.#status(response, inner.value);
      default:
        return undefined;
    }
  }

  #flow(flow: Parameters<typeof compactFlow>[0]): void {
    if (this.#format === 'table') this.#rows.push(tableFlow(flow, this.#options));
    else if (this.#format === 'dict') this.#dict(dictFlow(flow, this.#options));
    else this.#sink.out(`${compactFlow(flow, this.#options)}\n`);
    this.#printed++;
  }

  #dict(text: string): void {
    this.#sink.out(this.#printed > 0 ? `${DICT_LINE}\n${text}\n` : `${text}\n`);
  }

  #special(time: string, text: string, { value }: { value: { numEventsLost: bigint } }): void {
    if (this.#format === 'table') {
      this.#rows.push([time, '', '', 'EVENTS LOST', '', `${value.numEventsLost}`]);
    } else if (this.#format === 'dict') {
      this.#dict(`  TIMESTAMP: ${time}\n       TYPE: ${text}`);
      this.#printed++;
    } else this.#sink.out(`${time} ${text}\n`);
  }

  #status(response: GetFlowsResponse, status: NodeStatusEvent): void {
    const text = nodeStatusText(status, this.#options.debug);
    if (text === undefined) return;
    const node = response.nodeName === '' ? '' : ` [${response.nodeName}]`;
    this.#sink.err(`${formatTime(response.time, this.#options.time)}${node}: ${text}\n`);
  }

  end(): void {
    if (this.#format !== 'table') return;
    this.#sink.out(formatColumns([tableHead(this.#options), ...this.#rows], { padding: 3, minWidth: 2 }));
  }
}

const FLUSH_BYTES = 32_768;

/** Buffers until the loop is idle, so that thousands of lines cost some writes. */
export class BufferedOutput implements Sink {
  #text = '';
  #scheduled = false;

  out(text: string): void {
    this.#text += text;
    if (this.#text.length > FLUSH_BYTES) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.flush());
    }
  }

  err(text: string): void {
    process.stderr.write(text);
  }

  flush(): void {
    this.#scheduled = false;
    if (this.#text === '') return;
    process.stdout.write(this.#text);
    this.#text = '';
  }

  /** Resolves when the reader has taken what was written. */
  async drained(): Promise<void> {
    this.flush();
    if (!process.stdout.writableNeedDrain) return;
    await new Promise<void>((resolve) => process.stdout.once('drain', () => resolve()));
  }
}
