/* Carrying out an import's plan: several requests under way at once.
 *
 * Each lane has a connection and, while a plan is carried out, a thread of its own
 * that takes the next items, encrypts their content, submits them as one request
 * and waits until k nodes have co-signed it. Records don't depend on one another,
 * so their order doesn't matter. One thread calls these functions. */
#ifndef CLI_IMPORT_LANES_H
#define CLI_IMPORT_LANES_H

#include "cli/import_plan.h"
#include "cli/tool.h"

struct import_lanes;

/* Needs the tool's cluster, signer and collective key. */
enum err import_lanes_open(struct import_lanes **out, struct tool *t, enum purpose purpose);
void import_lanes_close(struct import_lanes *lanes); /* NULL is nothing */

/* Creates and updates what the plan says for this patient. `done` counts by what
 * became of each item: a record that turned up meanwhile (from an import that was
 * cut off) counts as unchanged, one that somebody changed meanwhile as kept.
 * `progress` is called now and again on this thread. On an error (in the tool's
 * failure) requests under way are still waited for, and counted. */
enum err import_lanes_run(struct import_lanes *lanes, const struct fhir_bundle *bundle, const struct import_plan *plan,
                          const struct id *patient, uint32_t done[static IMPORT_FATE_COUNT],
                          void (*progress)(void *data, uint32_t finished), void *data);

#endif
