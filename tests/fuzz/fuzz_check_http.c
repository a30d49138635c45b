/* Answers of a web server: a verdict stays the same when more bytes come, and a complete header has
 * a status. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "services/check/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum http_found before = HTTP_MORE;
	unsigned status_before = 0;

	/* In some pieces, not at every byte: long inputs would take too long. */
	for (size_t count = 0; count <= size; count += 1 + size / 16) {
		unsigned status = 0;
		enum http_found found = http_answer((const char *)data, count, &status);
		if (before != HTTP_MORE && (found != before || status != status_before))
			abort();
		if (found == HTTP_COMPLETE ? status < 100 || status > 999 : status != 0)
			abort();
		if (found == HTTP_MORE && count >= HTTP_HEADER_MAX)
			abort();
		before = found;
		status_before = status;
	}
	return 0;
}
