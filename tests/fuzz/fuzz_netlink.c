/* Any bytes as an answer of rtnetlink: every message and attribute stays inside what was received.
 */
#include <assert.h>
#include <string.h>

#include "src/node/arp.h"
#include "src/node/netlink_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct netlink_answer answer;
	struct netlink_address address;
	struct netlink_link link;
	struct arp_packet packet;
	size_t offset = 0, before = 0;

	while (netlink_next(data, size, &offset, &answer) == 1) {
		assert(offset > before && offset <= size);
		assert(answer.payload + answer.bytes <= data + size);
		before = offset;
		int error = netlink_error_of(&answer);
		assert(error >= -1 && error <= 4095);
		if (netlink_read_link(&answer, &link))
			assert(link.index > 0 && strlen(link.name) < sizeof(link.name));
		if (netlink_read_address(&answer, &address))
			assert(address.index > 0 && address.length <= 32);
	}
	arp_read(data, size, &packet);
	return 0;
}
