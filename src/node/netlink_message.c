#include "src/node/netlink_message.h"

#include <net/if.h>
#include <string.h>

static void put_bytes(struct netlink_request *request, const void *data, size_t bytes)
{
	size_t padded = NLMSG_ALIGN(bytes);

	if (request->overflow || padded > sizeof(request->bytes) - request->length) {
		request->overflow = true;
		return;
	}
	uint8_t *at = request->bytes + request->length;
	memset(at, 0, padded);
	if (bytes > 0)
		memcpy(at, data, bytes);
	request->length += padded;
}

void netlink_begin(struct netlink_request *request, uint16_t type, uint16_t flags,
		   const void *header, size_t header_bytes)
{
	struct nlmsghdr message = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags};

	request->length = 0;
	request->overflow = false;
	put_bytes(request, &message, sizeof(message));
	put_bytes(request, header, header_bytes);
}

void netlink_put(struct netlink_request *request, uint16_t type, const void *data, size_t bytes)
{
	if (bytes > NETLINK_REQUEST_BYTES) {
		request->overflow = true;
		return;
	}
	struct rtattr attribute = {.rta_len = (uint16_t)RTA_LENGTH(bytes), .rta_type = type};
	put_bytes(request, &attribute, sizeof(attribute));
	put_bytes(request, data, bytes);
}

void netlink_put_u32(struct netlink_request *request, uint16_t type, uint32_t value)
{
	netlink_put(request, type, &value, sizeof(value));
}

void netlink_put_string(struct netlink_request *request, uint16_t type, const char *text)
{
	netlink_put(request, type, text, strlen(text) + 1);
}

size_t netlink_nest_begin(struct netlink_request *request, uint16_t type)
{
	size_t mark = request->length;

	netlink_put(request, type, NULL, 0);
	return mark;
}

void netlink_nest_end(struct netlink_request *request, size_t mark)
{
	if (request->overflow)
		return;
	uint16_t length = (uint16_t)(request->length - mark);
	memcpy(request->bytes + mark + offsetof(struct rtattr, rta_len), &length, sizeof(length));
}

bool netlink_finish(struct netlink_request *request, uint32_t sequence)
{
	if (request->overflow)
		return false;
	uint32_t length = (uint32_t)request->length;
	memcpy(request->bytes + offsetof(struct nlmsghdr, nlmsg_len), &length, sizeof(length));
	memcpy(request->bytes + offsetof(struct nlmsghdr, nlmsg_seq), &sequence, sizeof(sequence));
	return true;
}

int netlink_next(const uint8_t *buffer, size_t bytes, size_t *offset, struct netlink_answer *answer)
{
	struct nlmsghdr header;

	if (*offset >= bytes)
		return 0;
	size_t left = bytes - *offset;
	if (left < sizeof(header))
		return -1;
	memcpy(&header, buffer + *offset, sizeof(header));
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > left)
		return -1;

	answer->type = header.nlmsg_type;
	answer->flags = header.nlmsg_flags;
	answer->sequence = header.nlmsg_seq;
	answer->payload = buffer + *offset + sizeof(header);
	answer->bytes = header.nlmsg_len - sizeof(header);

	/* The padding of the last message may be missing. */
	size_t padded = NLMSG_ALIGN((size_t)header.nlmsg_len);
	*offset += padded < left ? padded : left;
	return 1;
}

int netlink_error_of(const struct netlink_answer *answer)
{
	int error;

	if (answer->type != NLMSG_ERROR || answer->bytes < sizeof(error))
		return -1;
	memcpy(&error, answer->payload, sizeof(error));
	if (error > 0 || error < -4095)
		return -1;
	return -error;
}

struct attribute {
	uint16_t type;
	const uint8_t *data;
	size_t bytes;
};

/* As netlink_next, for the attributes in payload[0..bytes). */
static int attribute_next(const uint8_t *payload, size_t bytes, size_t *offset,
			  struct attribute *attribute)
{
	struct rtattr header;

	if (*offset >= bytes)
		return 0;
	size_t left = bytes - *offset;
	if (left < sizeof(header))
		return -1;
	memcpy(&header, payload + *offset, sizeof(header));
	if (header.rta_len < sizeof(header) || header.rta_len > left)
		return -1;
	attribute->type = (uint16_t)(header.rta_type & NLA_TYPE_MASK);
	attribute->data = payload + *offset + sizeof(header);
	attribute->bytes = header.rta_len - sizeof(header);

	size_t padded = RTA_ALIGN((size_t)header.rta_len);
	*offset += padded < left ? padded : left;
	return 1;
}

bool netlink_read_link(const struct netlink_answer *answer, struct netlink_link *link)
{
	struct ifinfomsg info;
	struct attribute attribute;
	size_t offset = sizeof(info);
	int more;

	if (answer->type != RTM_NEWLINK || answer->bytes < sizeof(info))
		return false;
	memcpy(&info, answer->payload, sizeof(info));
	*link = (struct netlink_link){.index = info.ifi_index, .flags = info.ifi_flags};

	while ((more = attribute_next(answer->payload, answer->bytes, &offset, &attribute)) == 1) {
		if (attribute.type == IFLA_IFNAME) {
			size_t length = strnlen((const char *)attribute.data, attribute.bytes);
			if (length == 0 || length >= sizeof(link->name))
				return false;
			memcpy(link->name, attribute.data, length);
			link->name[length] = '\0';
		} else if (attribute.type == IFLA_ADDRESS && attribute.bytes == MAC_BYTES) {
			memcpy(link->mac, attribute.data, MAC_BYTES);
			link->has_mac = true;
		}
	}
	return more == 0 && link->index > 0 && link->name[0] != '\0';
}

bool netlink_read_address(const struct netlink_answer *answer, struct netlink_address *address)
{
	struct ifaddrmsg info;
	struct attribute attribute;
	size_t offset = sizeof(info);
	bool found = false;
	int more;

	if (answer->type != RTM_NEWADDR || answer->bytes < sizeof(info))
		return false;
	memcpy(&info, answer->payload, sizeof(info));
	if (info.ifa_family != AF_INET || info.ifa_prefixlen > 32 || info.ifa_index == 0 ||
	    info.ifa_index > INT32_MAX)
		return false;
	*address = (struct netlink_address){.index = (int)info.ifa_index,
					    .length = info.ifa_prefixlen};

	while ((more = attribute_next(answer->payload, answer->bytes, &offset, &attribute)) == 1) {
		/* IFA_LOCAL is the own address; IFA_ADDRESS is the peer's on a point-to-point link.
		 */
		if (attribute.type == IFA_LOCAL && attribute.bytes == sizeof(address->address)) {
			memcpy(&address->address, attribute.data, sizeof(address->address));
			found = true;
		}
	}
	return more == 0 && found;
}
