/*
 * The switch's command socket: a Unix stream socket, one command a line, one JSON object a line as
 *the answer.
 *
 *	cut A B		neither hears the other		cut A>B		B does not hear A
 *	cut A		A hears and is heard by nobody
 *	delay LINK 50ms	loss LINK 10%	LINK is A B, A>B or A, as for cut
 *	heal [LINK]	undoes cut, delay and loss
 *	status		ports, whether a machine is connected, links that are not whole
 *	stats		counters of every port
 *
 * {"ok": true, …} or {"ok": false, "error": "what was found and what was expected"}.
 */
#ifndef DEMO_SWITCH_CONTROL_H
#define DEMO_SWITCH_CONTROL_H

#include <poll.h>
#include <stddef.h>

#include "fabric.h"

enum { CONTROL_CLIENTS = 16, CONTROL_LINE_MAX = 256, CONTROL_POLLS = CONTROL_CLIENTS + 1 };

struct control_client {
	int fd; /* -1: free */
	char line[CONTROL_LINE_MAX];
	size_t line_used;
	char *answer; /* not yet sent; nothing more is read before it is */
	size_t answer_bytes, answer_sent;
};

struct control {
	int listener;
	struct control_client clients[CONTROL_CLIENTS];
};

/* -1 with errno. */
int control_init(struct control *control, const char *path);
/* Fills CONTROL_POLLS entries. */
void control_poll_fill(struct control *control, struct pollfd *polls);
void control_poll_done(struct control *control, struct fabric *fabric, const struct pollfd *polls);

/* The JSON answer to one command line, ending in a newline; the caller frees it. NULL when memory
 * is short. */
char *control_answer(struct fabric *fabric, char *line);

#endif
