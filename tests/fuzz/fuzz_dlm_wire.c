/* Messages of the DLM link: whatever arrives is refused or comes back unchanged, and the view
 * machine survives it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/dlm/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view_machine machine;
	struct view_actions actions = {0};

	view_init(&machine, VIEW_HIGH, VIEW_LOW);
	view_connected(&machine, &actions);
	for (; size >= WIRE_BYTES; data += WIRE_BYTES, size -= WIRE_BYTES) {
		struct wire_message message;
		uint8_t again[WIRE_BYTES];

		if (!wire_decode(&message, data))
			continue;
		wire_encode(again, &message);
		if (memcmp(again, data, WIRE_BYTES - WIRE_MAC_BYTES) != 0)
			abort();
		if (message.kind != WIRE_VIEW)
			continue;
		actions.count = 0;
		view_want(&machine, message.from & 1, &actions);
		view_shown(&machine, &message.view, message.want, message.halted, &actions);
		if (actions.count >= VIEW_ACTIONS_MAX)
			abort();
	}
	return 0;
}
