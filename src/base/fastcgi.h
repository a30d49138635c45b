/*
 * The records of FastCGI, as bytes: a header of 8 bytes, and name-value pairs as content. Pure: no
 * socket, no memory. Source: FastCGI Specification 1.0, sections 3.3 (records), 3.4 (name-value
 * pairs), 4.1 (GET_VALUES), 8 (types and constants).
 */
#ifndef SUPERVISOR_BASE_FASTCGI_H
#define SUPERVISOR_BASE_FASTCGI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FCGI_BEGIN_REQUEST = 1,
	FCGI_END_REQUEST = 3,
	FCGI_PARAMS,
	FCGI_STDIN,
	FCGI_STDOUT,
	FCGI_STDERR,
	FCGI_GET_VALUES = 9,
	FCGI_GET_VALUES_RESULT,
	FCGI_UNKNOWN_TYPE
};
enum { FCGI_VERSION = 1, FCGI_RESPONDER = 1, FCGI_REQUEST_COMPLETE = 0 };
enum { FCGI_HEADER_BYTES = 8, FCGI_BODY_BYTES = 8, FCGI_REST_MAX = UINT16_MAX + UINT8_MAX };

struct fastcgi_record {
	uint8_t type;
	uint16_t request; /* 0: management */
	uint16_t content_bytes;
	uint8_t padding_bytes; /* follow the content, at most FCGI_REST_MAX together */
};

void fastcgi_put_header(uint8_t header[FCGI_HEADER_BYTES], const struct fastcgi_record *record);
/* False: another version. */
bool fastcgi_get_header(const uint8_t header[FCGI_HEADER_BYTES], struct fastcgi_record *record);

/* Appends a pair to to[0..max) at *used; false, with nothing written, if it does not fit. */
bool fastcgi_put_pair(uint8_t *to, size_t max, size_t *used, const char *name, const char *value);

struct fastcgi_pair {
	const uint8_t *name, *value; /* into what was read; no NUL at their ends */
	size_t name_bytes, value_bytes;
};

/* The pair at *at of content[0..bytes), *at moved behind it. False with *at == bytes: the end; with
 * *at below it: not well-formed. */
bool fastcgi_get_pair(const uint8_t *content, size_t bytes, size_t *at, struct fastcgi_pair *pair);

#endif
