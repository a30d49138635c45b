/* supervisor keygen [--json]: a key pair for one node. */
#include "src/control/commands.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "src/base/log.h"
#include "src/config/cluster.h"

#define KEY_TEXT_BYTES sodium_base64_ENCODED_LEN(KEY_BYTES, sodium_base64_VARIANT_ORIGINAL)

int cmd_keygen(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return puts("usage: supervisor keygen [--json]") < 0;
	if (argc > 2 || (argc == 2 && !json)) {
		fprintf(stderr, "usage: supervisor keygen [--json]\n");
		return 2;
	}
	if (sodium_init() < 0)
		fatalx("keygen: no source of random numbers");

	_Static_assert(KEY_BYTES == crypto_box_PUBLICKEYBYTES &&
			       KEY_BYTES == crypto_box_SECRETKEYBYTES,
		       "keys are X25519 keys");
	uint8_t public_key[KEY_BYTES], secret_key[KEY_BYTES];
	char public_text[KEY_TEXT_BYTES], secret_text[KEY_TEXT_BYTES];
	crypto_box_keypair(public_key, secret_key);
	sodium_bin2base64(public_text, sizeof(public_text), public_key, sizeof(public_key),
			  sodium_base64_VARIANT_ORIGINAL);
	sodium_bin2base64(secret_text, sizeof(secret_text), secret_key, sizeof(secret_key),
			  sodium_base64_VARIANT_ORIGINAL);
	printf(json ? "{\"secret-key\":\"%s\",\"key\":\"%s\"}\n" : "secret-key = %s\nkey = %s\n",
	       secret_text, public_text);
	sodium_memzero(secret_key, sizeof(secret_key));
	sodium_memzero(secret_text, sizeof(secret_text));
	if (fflush(stdout) != 0 || ferror(stdout))
		fatal("keygen: writing the keys");
	return 0;
}
