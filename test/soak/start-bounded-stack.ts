// The product on a small heap: resident memory then shows what is kept, not what V8 has not bothered to collect on a large machine.
import { startTestStack, type TestStack, type TestStackOptions } from '#test/support/gateway.ts';

const SMALL_HEAP = '--max-old-space-size=192 --max-semi-space-size=8';

/** Starts a stack whose gateway process has a heap of 192 MiB at most. */
export async function startBoundedStack(options: TestStackOptions): Promise<TestStack> {
  const before = process.env['NODE_OPTIONS'];
  process.env['NODE_OPTIONS'] = SMALL_HEAP;
  try {
    return await startTestStack(options);
  } finally {
    if (before === undefined) delete process.env['NODE_OPTIONS'];
    else process.env['NODE_OPTIONS'] = before;
  }
}
