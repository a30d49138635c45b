/*
 * What a service says of itself: a datagram of sd_notify(3), "NAME=VALUE" lines.
 *
 * Pure: bytes in, a struct out, whatever the bytes are. Lines may come in any order and more than
 * once: what is said counts, and of texts and numbers the last one. What is not known here
 * (FDSTORE, NOTIFYACCESS, MONOTONIC_USEC, …) is passed over.
 */
#ifndef SUPERVISOR_SERVICE_NOTIFY_MESSAGE_H
#define SUPERVISOR_SERVICE_NOTIFY_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOTIFY_MESSAGE_BYTES 4096

/* Part of the datagram; at NULL: not said. Any bytes but newlines. */
struct notify_text {
	const char *at;
	size_t length;
};

/* A decimal number; good: it is one, without sign or blanks, and fits. */
struct notify_number {
	struct notify_text text;
	bool good;
	uint64_t value;
};

struct notify_message {
	bool ready, reloading, stopping;  /* READY=1, RELOADING=1, STOPPING=1 */
	bool barrier;			  /* BARRIER=1 */
	bool ping, trigger;		  /* WATCHDOG=1, WATCHDOG=trigger */
	struct notify_text status;	  /* STATUS= */
	struct notify_text bus_error;	  /* BUSERROR= */
	struct notify_number main_pid;	  /* MAINPID= */
	struct notify_number error;	  /* ERRNO= */
	struct notify_number extend_us;	  /* EXTEND_TIMEOUT_USEC= */
	struct notify_number watchdog_us; /* WATCHDOG_USEC= */
};

void notify_message_read(const char *bytes, size_t count, struct notify_message *message);
/* For people: what a terminal can be shown, "?" for all else, cut to the room there is at the end
 * of a character. Returns `to`. */
char *notify_text_plain(const struct notify_text *text, char *to, size_t to_bytes);

#endif
