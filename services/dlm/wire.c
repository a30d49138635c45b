#include "services/dlm/wire.h"

#include <string.h>

#define MAGIC	UINT64_C(0x53444c4d) /* "SDLM" */
#define VERSION 1
#define WANT	1u
#define HALTED	2u

enum {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_KIND = 5,
	AT_FROM = 6,
	AT_BOOT = 8,
	AT_NONCE = 24,
	AT_ECHO = 40,
	AT_SEQUENCE = 56,
	AT_NUMBER = 64,
	AT_PHASE = 72,
	AT_BASE = 73,
	AT_MEMBERS = 74,
	AT_WANT = 75,
	AT_ZERO = 76,
	AT_LOCKSPACE = 80,
	AT_ZERO_2 = 144,
	AT_MAC = 160,
};
_Static_assert(AT_MAC + WIRE_MAC_BYTES == WIRE_BYTES, "layout");
_Static_assert(AT_LOCKSPACE + WIRE_LOCKSPACE_BYTES == AT_ZERO_2, "layout");

static void put(uint8_t *at, uint64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, value >>= 8)
		at[i] = (uint8_t)value;
}

static uint64_t get(const uint8_t *at, int bytes)
{
	uint64_t value = 0;
	for (int i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

bool wire_lockspace_is_valid(const char *name)
{
	size_t i = 0;

	for (; name[i] != '\0'; i++) {
		const char c = name[i];
		if (i >= WIRE_LOCKSPACE_BYTES - 1 ||
		    !((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_'))
			return false;
	}
	return i > 0;
}

void wire_encode(uint8_t bytes[WIRE_BYTES], const struct wire_message *message)
{
	memset(bytes, 0, WIRE_BYTES);
	put(bytes + AT_MAGIC, MAGIC, 4);
	bytes[AT_VERSION] = VERSION;
	bytes[AT_KIND] = message->kind;
	put(bytes + AT_FROM, message->from, 2);
	memcpy(bytes + AT_BOOT, message->boot, WIRE_BOOT_BYTES);
	memcpy(bytes + AT_NONCE, message->nonce, WIRE_NONCE_BYTES);
	memcpy(bytes + AT_ECHO, message->echo, WIRE_NONCE_BYTES);
	put(bytes + AT_SEQUENCE, message->sequence, 8);
	if (message->kind != WIRE_VIEW)
		return;
	put(bytes + AT_NUMBER, message->view.number, 8);
	bytes[AT_PHASE] = message->view.phase;
	bytes[AT_BASE] = message->view.base;
	bytes[AT_MEMBERS] = message->view.members;
	bytes[AT_WANT] = (uint8_t)((message->want ? WANT : 0) | (message->halted ? HALTED : 0));
	memcpy(bytes + AT_LOCKSPACE, message->lockspace,
	       strnlen(message->lockspace, WIRE_LOCKSPACE_BYTES - 1));
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static bool decode_view(struct wire_message *message, const uint8_t *bytes)
{
	message->view.number = get(bytes + AT_NUMBER, 8);
	message->view.phase = bytes[AT_PHASE];
	message->view.base = bytes[AT_BASE];
	message->view.members = bytes[AT_MEMBERS];
	message->want = bytes[AT_WANT] & WANT;
	message->halted = bytes[AT_WANT] & HALTED;
	memcpy(message->lockspace, bytes + AT_LOCKSPACE, WIRE_LOCKSPACE_BYTES);
	const size_t length = strnlen(message->lockspace, WIRE_LOCKSPACE_BYTES);
	return (message->view.phase == VIEW_STOP || message->view.phase == VIEW_START) &&
	       message->view.base <= (VIEW_LOW | VIEW_HIGH) &&
	       message->view.members <= (VIEW_LOW | VIEW_HIGH) &&
	       bytes[AT_WANT] <= (WANT | HALTED) && length < WIRE_LOCKSPACE_BYTES &&
	       wire_lockspace_is_valid(message->lockspace) &&
	       all_zero(bytes + AT_LOCKSPACE + length, WIRE_LOCKSPACE_BYTES - length) &&
	       message->view.number < UINT64_MAX / 2;
}

bool wire_decode(struct wire_message *message, const uint8_t bytes[WIRE_BYTES])
{
	*message = (struct wire_message){.kind = bytes[AT_KIND]};
	if (get(bytes + AT_MAGIC, 4) != MAGIC || bytes[AT_VERSION] != VERSION ||
	    !all_zero(bytes + AT_ZERO, AT_LOCKSPACE - AT_ZERO) ||
	    !all_zero(bytes + AT_ZERO_2, AT_MAC - AT_ZERO_2))
		return false;
	message->from = (uint16_t)get(bytes + AT_FROM, 2);
	memcpy(message->boot, bytes + AT_BOOT, WIRE_BOOT_BYTES);
	memcpy(message->nonce, bytes + AT_NONCE, WIRE_NONCE_BYTES);
	memcpy(message->echo, bytes + AT_ECHO, WIRE_NONCE_BYTES);
	message->sequence = get(bytes + AT_SEQUENCE, 8);
	if (message->kind == WIRE_VIEW)
		return decode_view(message, bytes);
	return (message->kind == WIRE_HELLO || message->kind == WIRE_CONFIRM) &&
	       all_zero(bytes + AT_NUMBER, AT_ZERO_2 - AT_NUMBER);
}
