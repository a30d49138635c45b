/* The records that answer a reload: what the last attempt has done, or why it was refused. */
#ifndef SUPERVISOR_CONTROL_SERVE_RELOAD_H
#define SUPERVISOR_CONTROL_SERVE_RELOAD_H

#include <stddef.h>

#include "src/control/protocol.h"

/* How many there are. */
size_t reload_records(void);
/* Fills in the number-th, its type included. */
void reload_record(struct control_record *record, size_t number);

#endif
