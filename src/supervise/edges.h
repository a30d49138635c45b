/* The supervisor's node[]: the present configuration's dependencies, and what old definitions that
 * something still runs by add to them. */
#ifndef SUPERVISOR_SUPERVISE_EDGES_H
#define SUPERVISOR_SUPERVISE_EDGES_H

#include "src/supervise/supervise.h"

/*
 * Makes node[] anew. By an old definition, a service comes after all that it required, wanted or
 * came after there, so that it is gone before they go; it still excludes whom it excluded. Edges
 * that would close a cycle with the present ones are left out. Out of memory, all of these are,
 * with a message.
 */
void edges_make(struct supervisor *supervisor);

#endif
