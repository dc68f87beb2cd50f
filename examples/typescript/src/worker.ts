/** What runs where: the tools of `units` on the queue `units`. Stops on SIGTERM and SIGINT, after running tools ended. */

import { Client } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection, Runtime, Worker } from '@temporalio/worker';

import { activities } from './activities.js';
import { MANIFEST, NAME, VERSION } from './manifest.js';
import { announceUntilHeard } from './registry.js';

// Retinue counts a worker as gone after three of its heartbeats, of 5 s each, have failed to come.
Runtime.install({ workerHeartbeatInterval: '5s' });

// TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS*: the variables of all workers.
const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({ disableFile: true });
const connection = await NativeConnection.connect(connectionOptions);
const stop = new AbortController();
try {
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue: MANIFEST.task_queue,
    activities,
    buildId: `${NAME}-${VERSION}`,
    shutdownGraceTime: '8s',
  });
  const running = worker.run().finally(() => stop.abort());
  try {
    const revision = await announceUntilHeard(new Client({ connection, namespace }), MANIFEST, stop.signal);
    if (revision !== null) console.log(`announced ${NAME} ${VERSION}, revision ${revision}`);
  } catch (error) {
    worker.shutdown();
    throw error;
  } finally {
    await running;
  }
} finally {
  await connection.close();
}
