/* Writes JSON (RFC 8259) to stdout, compact, valid for any bytes: what is not UTF-8 becomes U+FFFD.
 */
#ifndef SUPERVISOR_BASE_JSON_H
#define SUPERVISOR_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

/* `first` starts as true and becomes false: it remembers whether a comma is due. key NULL: an
 * element of an array. */
void json_open(bool *first, const char *key, char bracket);
void json_close(bool *first, char bracket);
void json_string(bool *first, const char *key, const char *value);
void json_number(bool *first, const char *key, int64_t value);
void json_bool(bool *first, const char *key, bool value);

#endif
