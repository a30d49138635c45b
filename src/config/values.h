/*
 * The one way to write each kind of value. Every function returns false after having reported
 * "FILE:LINE: KEY: found "X", expected Y" and leaves *out untouched then.
 */
#ifndef SUPERVISOR_CONFIG_VALUES_H
#define SUPERVISOR_CONFIG_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/config/cluster.h"
#include "src/config/lines.h"
#include "src/config/service.h"

/* "500ms", "5s", "2m", "1h", up to 24h; "none" = 0. */
bool value_duration(const struct place *place, const char *text, uint32_t *ms);
/* "64K", "1M", "2G" (powers of 1024), or a plain number of bytes. */
bool value_size(const struct place *place, const char *text, uint64_t *bytes);
/* A decimal number without plus sign, blanks or leading zeros. number_in says nothing. */
bool number_in(const char *text, int64_t least, int64_t most, int64_t *out);
bool value_number(const struct place *place, const char *text, int64_t least, int64_t most,
		  int64_t *out);
bool value_bool(const struct place *place, const char *text, bool *out); /* yes, no */
/* Three or four octal digits that begin with 0: "022", "0022". */
bool value_octal(const struct place *place, const char *text, mode_t *out);
/* A name of a node, role, address or share: [a-z0-9][a-z0-9.-]*, below NAME_BYTES. */
bool value_name(const struct place *place, const char *text, char out[NAME_BYTES]);
bool value_ipv4(const struct place *place, const char *text, struct in_addr *out);
bool value_prefix(const struct place *place, const char *text,
		  struct ipv4_prefix *out); /* "10.0.0.1/24" */
bool value_key(const struct place *place, const char *text,
	       uint8_t out[KEY_BYTES]); /* base64, RFC 4648 */
/* "/dev/PATH" or "serial:NAME". */
bool value_disk(const struct place *place, const char *text);
/* An absolute path without "." and ".." and empty components. */
bool value_path(const struct place *place, const char *text);
/* A path where PID 1 itself may look: nothing there waits for a server or for a replicated disk. */
bool value_local_path(const struct place *place, const char *text);
bool value_signal(const struct place *place, const char *text, int *out); /* TERM, INT, … */
bool value_capability(const struct place *place, const char *text,
		      int *out); /* net_admin, …: without cap_ */
/* `resource` as in "limit-nofile": "nofile"; words: one value for both limits, or soft and hard. */
bool value_limit(const struct place *place, const char *resource, const struct words *words,
		 struct limit_def *out);
/* "tcp 0.0.0.0:80", "tcp [::]:80", "udp …", "unix /path": two words. The text is kept in the arena.
 */
bool value_socket(struct arena *arena, const struct place *place, const char *kind,
		  const char *address, struct listen_def *out);

/*
 * Users and groups, by name or number, read from DIRECTORY/passwd and DIRECTORY/group: a static
 * program has no name service switch. A user's own group comes along.
 */
struct accounts {
	const char *passwd, *group; /* NUL-terminated texts; NULL: no such file */
};

void accounts_read(struct accounts *accounts, struct arena *arena, const char *directory);
bool value_user(const struct place *place, const struct accounts *accounts, const char *text,
		uid_t *uid, gid_t *gid);
bool value_group(const struct place *place, const struct accounts *accounts, const char *text,
		 gid_t *gid);

/* The candidate nearest to `text` (at most 3 edits and fewer than half of it), or NULL. */
const char *nearest(const char *text, const char *(*candidate)(size_t index, const void *context),
		    const void *context);

#endif
