#include "src/base/utf8.h"

size_t utf8_length(const char *text)
{
	const unsigned char *b = (const unsigned char *)text;
	size_t length = b[0] < 0x80 ? 1 : b[0] < 0xC2 ? 0 : b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;

	if (b[0] > 0xF4)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((b[i] & 0xC0) != 0x80)
			return 0;
	/* Longer than need be, surrogates, past U+10FFFF. */
	if ((b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xED && b[1] > 0x9F) ||
	    (b[0] == 0xF0 && b[1] < 0x90) || (b[0] == 0xF4 && b[1] > 0x8F))
		return 0;
	return length;
}

bool utf8_is_control(const char *text)
{
	const unsigned char *b = (const unsigned char *)text;

	return b[0] < 0x20 || b[0] == 0x7F || (b[0] == 0xC2 && b[1] >= 0x80 && b[1] < 0xA0);
}
