/*
 * DRBD 8.4 with one resource: a dual-primary pair over the backing disks of the two data nodes.
 *
 *   @drbd up         metadata if the disk is blank, attach, connect         (undone by @drbd down)
 *   @drbd primary    waits for the peer and for current data, then promotes (undone by @drbd
 * secondary)
 *   @drbd status     what events2 says, one line a field; --json
 *
 * The kernel starts the fencing helper (parameter usermode_helper) by a link to this same binary
 * that is called DRBD_HELPER_NAME; the front door hands over to drbd_helper().
 */
#ifndef SERVICES_DRBD_DRBD_H
#define SERVICES_DRBD_DRBD_H

#include "services/drbd/state.h"

#define DRBD_RESOURCE	 "r0"
#define DRBD_MINOR	 "0"
#define DRBD_DEVICE	 "/dev/drbd0"
#define DRBD_PORT	 7788
#define DRBD_SETUP	 "/usr/sbin/drbdsetup-84"
#define DRBD_META	 "/usr/sbin/drbdmeta"
#define DRBD_HELPER_NAME "drbd-helper"
#define DRBD_HELPER_PATH "/run/" DRBD_HELPER_NAME

/* A running `drbdsetup-84 events2`, one line at a time. */
struct drbd_watch {
	int fd; /* its output; poll for POLLIN */
	int pid;
	char buffer[4096];
	size_t used;
	struct drbd_state state;
};

/* -1 with errno. */
int drbd_watch_open(struct drbd_watch *watch);
/* Waits up to timeout_ms (-1: for ever) for lines and takes them in. 1: something changed, 0:
 * timeout, -1: the stream ended or broke. */
int drbd_watch_next(struct drbd_watch *watch, int timeout_ms);
void drbd_watch_close(struct drbd_watch *watch);

/* Was the attached disk's metadata just made, and has it never been in use since? 1, 0, or -1 with
 * errno. */
int drbd_is_new(void);

/*
 * argv[1] = what happened, argv[2] = the resource. Exit codes are drbd's (drbd_nl.c,
 * conn_try_outdate_peer): 3, 4, 5, 7 let I/O go on, 6 outdates this side, anything else stays
 * frozen.
 */
int drbd_helper(int argc, char **argv);

#endif
