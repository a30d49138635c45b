/* Lines of drbdsetup's events2, and modules.dep: text from programs and files of this machine. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/drbd/state.h"
#include "src/node/modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drbd_state state = {0};
	struct module_path path[4];
	const char *text = (const char *)data;

	int count = modules_dep_find(text, size, "drbd", path, 4);
	for (int i = 0; i < count; i++)
		if (path[i].text < text || path[i].text + path[i].length > text + size)
			abort();
	while (size > 0) {
		const char *newline = memchr(text, '\n', size);
		size_t length = newline ? (size_t)(newline - text) : size;
		drbd_state_line(&state, text, length);
		if (strlen(state.disk) >= DRBD_WORD_BYTES || strlen(state.role) >= DRBD_WORD_BYTES)
			abort();
		length += newline != NULL;
		text += length;
		size -= length;
	}
	return 0;
}
