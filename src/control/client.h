/* The command line's end of the control socket, and what its verbs have in common. */
#ifndef SUPERVISOR_CONTROL_CLIENT_H
#define SUPERVISOR_CONTROL_CLIENT_H

#include "src/control/protocol.h"

/* Exit codes of every verb. */
enum { EXIT_FINE = 0, EXIT_NO = 1, EXIT_USAGE = 2 };

struct client_options {
	bool json, force, no_wait, follow, kexec, as_default;
	long lines;		 /* -n N; -1: not given */
	const char *run_dir;	 /* --run=DIR, $SUPERVISOR_RUN, /run/supervisor */
	const char *argument[4]; /* what is no option */
	int arguments;
};

/*
 * Parses argv[1..]; `allowed` holds the letters of the options that this verb knows: j(son) f(orce)
 * w(--no-wait) F(ollow) k(exec) d(efault) n. --run=DIR is always known. Returns -1 after a line of
 * usage on stderr: EXIT_USAGE is the code then.
 */
int client_options(int argc, char **argv, const char *allowed, int least, int most,
		   const char *usage, struct client_options *options);

/*
 * Sends the request and calls each() for every record but the END. Returns the exit code; prints
 * the END's line on stderr if it is not 0. `each` may be NULL. `said` (may be NULL) gets the END's
 * line.
 */
int client_call(const struct client_options *options, struct control_request *request,
		void (*each)(void *owner, const struct control_record *record), void *owner,
		char *said, size_t said_bytes);

/* "3.2s", "5m10s", "2h3m", "4d1h" into text (at least 16 bytes); returns text. */
const char *client_duration(uint64_t ms, char *text, size_t bytes);
/* Colour around a word, only on a terminal and without NO_COLOR: red for trouble, green for fine,
 * yellow for between. */
const char *client_colour(const char *state);
const char *client_colour_end(void);

#endif
