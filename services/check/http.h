/*
 * The header of an HTTP/1.x answer, so far as a health check wants it: is it one, is it complete,
 * what is its status. Pure. Source: RFC 9112, sections 2.2 (a line may end with LF alone), 4
 * (status line), 5 (field lines).
 */
#ifndef SUPERVISOR_SERVICES_CHECK_HTTP_H
#define SUPERVISOR_SERVICES_CHECK_HTTP_H

#include <stddef.h>

enum { HTTP_HEADER_MAX = 16384 }; /* bytes of an answer's header; more is no answer */

enum http_found {
	HTTP_MORE,     /* good so far, not complete */
	HTTP_COMPLETE, /* up to the empty line; *status is from 100 to 999 */
	HTTP_WRONG,    /* no HTTP/1.x answer */
};

/* `bytes`: all that came so far, from the first byte on. */
enum http_found http_answer(const char *bytes, size_t count, unsigned *status);

#endif
