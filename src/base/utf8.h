/* UTF-8, as far as text from outside has to be looked at before it is passed on. `text` ends with a
 * NUL. */
#ifndef SUPERVISOR_BASE_UTF8_H
#define SUPERVISOR_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at text, 1 to 4; 0 if what is there is no UTF-8 (Unicode 15, table 3-7).
 */
size_t utf8_length(const char *text);
/* The character at text is one that a terminal obeys instead of showing: C0, DEL, C1. */
bool utf8_is_control(const char *text);

#endif
