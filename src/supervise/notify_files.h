/*
 * Descriptors that come with a readiness message (BARRIER=1 of sd_notify_barrier(3), or anybody's).
 *
 * Whoever drops the last reference to a file may have to wait for the file's server, and everybody
 * on this machine may send us a file. So a child takes hold of them first; then the message can be
 * taken from the queue without the files, and what closes them is the end of the child. That also
 * is what a barrier waits for: all that was sent before it has been read by then.
 */
#ifndef SUPERVISOR_SUPERVISE_NOTIFY_FILES_H
#define SUPERVISOR_SUPERVISE_NOTIFY_FILES_H

#include "src/supervise/supervise.h"

/* The first message in the queue brings descriptors. Pauses the queue, and calls `held` once they
 * are in other hands, or cannot be; that takes the message. */
bool notify_files_held(void); /* that is going on */
void notify_files_hold(struct supervisor *supervisor, void (*held)(struct supervisor *supervisor));

#endif
