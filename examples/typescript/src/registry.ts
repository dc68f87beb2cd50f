/** Announcing: an update-with-start of the registry workflow, again and again until it is heard. */

import { setTimeout as pause } from 'node:timers/promises';

import { type Client, WithStartWorkflowOperation, WorkflowUpdateFailedError } from '@temporalio/client';

const PATIENCE = 5_000;
const PAUSE = 1_000;

/**
 * Tells the registry's revision. The worker serves meanwhile; it is only not planned with before it was heard.
 *
 * @throws WorkflowUpdateFailedError when the manifest is refused: then nothing would ever call this worker.
 */
export async function announceUntilHeard(client: Client, manifest: object, stop: AbortSignal): Promise<number | null> {
  while (!stop.aborted) {
    try {
      return await client.withDeadline(Date.now() + PATIENCE, () => announce(client, manifest));
    } catch (error) {
      if (error instanceof WorkflowUpdateFailedError) throw error;
      console.error('announcement not heard yet');
      await pause(PAUSE, undefined, { signal: stop }).catch(() => undefined);
    }
  }
  return null;
}

async function announce(client: Client, manifest: object): Promise<number> {
  const registry = new WithStartWorkflowOperation('RegistryWorkflow', {
    workflowId: 'retinue-registry',
    taskQueue: 'workflows',
    workflowIdConflictPolicy: 'USE_EXISTING',
    args: [],
  });
  return await client.workflow.executeUpdateWithStart('announce', {
    args: [manifest],
    startWorkflowOperation: registry,
  });
}
