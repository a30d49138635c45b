/*
 * What the log process keeps of each stream: files NAME.log and NAME.log.1 in one directory, whole
 * lines, each stamped "2026-01-31T12:34:56.789Z ". A file that has grown over STORE_FILE_BYTES
 * becomes NAME.log.1: at most twice that is kept a service.
 */
#ifndef SUPERVISOR_LOG_STORE_H
#define SUPERVISOR_LOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "src/config/service.h"

#define STORE_FILE_BYTES (256u << 10)
#define STORE_LINE_BYTES 2048 /* longer lines are cut into several */

struct store_stream {
	char name[SERVICE_NAME_BYTES];
	int pipe_fd; /* -1: unused */
	int file_fd;
	size_t file_bytes;
	size_t held;	      /* bytes in line[]: the beginning of a line whose end has not come */
	unsigned char before; /* the byte before the next one */
	char line[STORE_LINE_BYTES];
};

/* Opens NAME.log in the directory, at its end. -1 with errno: what comes is then lost until a file
 * can be opened. */
int store_open(struct store_stream *stream, int directory_fd, const char *name);
/* Takes bytes of the stream, writes the lines that they complete. A full disk loses lines, never
 * blocks. */
void store_take(struct store_stream *stream, int directory_fd, const char *data, size_t bytes,
		const struct timespec *now);
/* The stream goes no further: a line that has no end yet gets one. */
void store_end(struct store_stream *stream, int directory_fd, const struct timespec *now);
/* A name that is safe as a file's. */
bool store_name_valid(const char *name);
/* UTC, proleptic Gregorian calendar; writes exactly 25 bytes and a NUL: "2026-01-31T12:34:56.789Z
 * ". */
void store_stamp(char *text, size_t bytes, const struct timespec *now);

#endif
