/*
 * What DRBD says about its one resource: the text lines of `drbdsetup-84 events2 RESOURCE`, one
 * "exists", "change", "create" or "destroy" an object, "exists -" when the first picture is
 * complete. Only what changed is in a line. Words as drbd-utils prints them
 * (user/shared/drbdstrings.c). Pure: no system call.
 *
 * The kernel takes the first picture once and hands it out piece by piece, with the changes of the
 * meantime between: an "exists" may be older than a "change" before it.
 */
#ifndef SERVICES_DRBD_STATE_H
#define SERVICES_DRBD_STATE_H

#include <stdbool.h>
#include <stddef.h>

#define DRBD_WORD_BYTES 24

struct drbd_state {
	bool complete;			  /* the first picture has been read */
	bool exists;			  /* the resource */
	bool suspended;			  /* I/O is frozen */
	char role[DRBD_WORD_BYTES];	  /* Primary, Secondary, Unknown */
	char connection[DRBD_WORD_BYTES]; /* StandAlone, Connecting, Connected, …; "" while there is
					     none */
	char peer_role[DRBD_WORD_BYTES]; /* as role */
	char disk[DRBD_WORD_BYTES]; /* Diskless, Inconsistent, Outdated, Consistent, UpToDate, … */
	char replication[DRBD_WORD_BYTES]; /* Off, Established, SyncSource, SyncTarget, … */
	char peer_disk[DRBD_WORD_BYTES];   /* as disk, or DUnknown */
	unsigned int changed;		   /* bit N: the Nth word above was in a "change" already */
};

/* Takes in one line without its newline. False: not a line of events2 (the state is unchanged). */
bool drbd_state_line(struct drbd_state *state, const char *line, size_t length);

/*
 * `drbdsetup-84 get-gi MINOR`: the generation identifiers, hexadecimal, the current one first.
 * Metadata that was just made has UUID_JUST_CREATED there (drbd_int.h), an interrupted
 * synchronisation never.
 */
bool drbd_gi_is_new(const char *text, size_t length);

bool drbd_is_connected(const struct drbd_state *state);
bool drbd_is_primary(const struct drbd_state *state);
/* Both disks are as create-md leaves them and the two are connected: the only moment in which a
 * first sync may be skipped. */
bool drbd_both_new(const struct drbd_state *state);
/* Connected, and there is current data here or at the peer. */
bool drbd_may_promote(const struct drbd_state *state);

#endif
