/* Who is connected to a listening socket: against real sockets, and line by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/process/clients.h"
#include "tests/unit/own_network.h"

static struct listen_def open_listener(int family, int *fd)
{
	struct listen_def listener = {.socket_type = SOCK_STREAM};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&listener.address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&listener.address;
	struct sockaddr_un *path = (struct sockaddr_un *)&listener.address;

	listener.address.ss_family = (sa_family_t)family;
	listener.address_length = family == AF_INET    ? sizeof(*v4)
				  : family == AF_INET6 ? sizeof(*v6)
						       : sizeof(*path);
	if (family == AF_INET)
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (family == AF_INET6)
		v6->sin6_addr = in6addr_loopback;
	else
		snprintf(path->sun_path, sizeof(path->sun_path), "/tmp/clients-%d.sock",
			 (int)getpid());
	*fd = socket(family, SOCK_STREAM, 0);
	assert_true(*fd >= 0);
	assert_int_equal(bind(*fd, (struct sockaddr *)&listener.address, listener.address_length),
			 0);
	if (family != AF_UNIX)
		getsockname(*fd, (struct sockaddr *)&listener.address, &listener.address_length);
	assert_int_equal(listen(*fd, 5), 0);
	return listener;
}

/* A segment over loopback is delivered at once, mostly: the kernel may leave it to a thread. */
static void expect_connected(const struct listen_def *listener, int connected)
{
	for (int i = 0; i < 1000 && clients_connected(listener) != connected; i++)
		usleep(10000);
	assert_int_equal(clients_connected(listener), connected);
}

static void connected_for(int family)
{
	int fd;
	struct listen_def listener = open_listener(family, &fd);

	expect_connected(&listener, 0);
	int client = socket(family, SOCK_STREAM, 0);
	assert_int_equal(
		connect(client, (struct sockaddr *)&listener.address, listener.address_length), 0);
	expect_connected(&listener, 1); /* waits to be accepted */
	int served = accept(fd, NULL, NULL);
	assert_true(served >= 0);
	expect_connected(&listener, 1);
	if (family != AF_UNIX) {
		/* The client is gone, but our side still holds the connection. */
		close(client);
		expect_connected(&listener, 1);
		client = -1;
	}
	close(served);
	if (client >= 0)
		close(client);
	expect_connected(&listener, 0);
	close(fd);
	if (family == AF_UNIX)
		unlink(((struct sockaddr_un *)&listener.address)->sun_path);
}

static bool has_ipv6(void)
{
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0;

	close(fd);
	return bound;
}

static void a_client_counts_from_connecting_to_the_end(void **state)
{
	(void)state;
	connected_for(AF_INET);
	if (has_ipv6())
		connected_for(AF_INET6);
	connected_for(AF_UNIX);
}

static void the_wildcard_has_the_clients_of_every_address(void **state)
{
	(void)state;
	struct listen_def any = {.socket_type = SOCK_STREAM};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&any.address;

	v4->sin_family = AF_INET;
	v4->sin_port = htons(8080);
	assert_true(
		clients_line_tcp(&any, "   1: 0100007F:1F90 0200007F:C350 01 00000000:00000000"));
	assert_true(
		clients_line_tcp(&any, "   1: 0A4D001F:1F90 0200007F:C350 08 00000000:00000000"));
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(
		clients_line_tcp(&any, "   1: 0100007F:1F90 0200007F:C350 01 00000000:00000000"));
	assert_false(
		clients_line_tcp(&any, "   1: 0A4D001F:1F90 0200007F:C350 01 00000000:00000000"));
}

static void what_is_no_client_does_not_count(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt",
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000", /* it listens */
		"   1: 0100007F:1F91 0200007F:C350 01 00000000:00000000", /* another port */
		"   2: 0200007F:C350 0100007F:1F90 01 00000000:00000000", /* the other end */
		"   3: 0100007F:1F90 0200007F:C350 06 00000000:00000000", /* TIME_WAIT */
		"   4: 00000000000000000000000001000000:1F90 00:1 01",	  /* of version 6 */
		"",
		" ",
		"1:",
		"   1: 0100007F:1F90",
	};
	struct listen_def listener = {.socket_type = SOCK_STREAM};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&listener.address;

	v4->sin_family = AF_INET;
	v4->sin_port = htons(8080);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_false(clients_line_tcp(&listener, lines[i]));

	struct sockaddr_un *path = (struct sockaddr_un *)&listener.address;
	memset(&listener.address, 0, sizeof(listener.address));
	path->sun_family = AF_UNIX;
	strcpy(path->sun_path, "/run/x.sock");
	assert_true(clients_line_unix(
		&listener, "0000000000000000: 00000003 00000000 00000000 0001 03 32 /run/x.sock"));
	assert_false(clients_line_unix(
		&listener, "0000000000000000: 00000003 00000000 00010000 0001 01 32 /run/x.sock"));
	assert_false(clients_line_unix(
		&listener, "0000000000000000: 00000003 00000000 00000000 0001 03 32 /run/y.sock"));
	assert_false(clients_line_unix(&listener,
				       "0000000000000000: 00000003 00000000 00000000 0001 03 32"));
	assert_false(clients_line_unix(&listener, "Num       RefCount Protocol Flags    Type St"));
}

static void datagrams_have_no_clients(void **state)
{
	(void)state;
	struct listen_def udp = {.socket_type = SOCK_DGRAM, .address.ss_family = AF_INET};
	assert_int_equal(clients_connected(&udp), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_counts_from_connecting_to_the_end),
		cmocka_unit_test(the_wildcard_has_the_clients_of_every_address),
		cmocka_unit_test(what_is_no_client_does_not_count),
		cmocka_unit_test(datagrams_have_no_clients),
	};
	own_network();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
