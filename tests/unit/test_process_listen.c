/* Listening sockets: opened once, kept by their text, bound to addresses that are not here yet. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/process/listen.h"
#include "tests/unit/own_network.h"

static char directory[] = "/tmp/test_process_listen.XXXXXX";

static struct listen_def inet_def(const char *text, int type, const char *address, uint16_t port)
{
	struct listen_def def = {
		.text = text, .socket_type = type, .address_length = sizeof(struct sockaddr_in)};
	struct sockaddr_in *in = (struct sockaddr_in *)&def.address;
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	inet_pton(AF_INET, address, &in->sin_addr);
	return def;
}

static struct listen_def unix_def(const char *text, const char *path)
{
	struct listen_def def = {.text = text,
				 .socket_type = SOCK_STREAM,
				 .address_length = sizeof(struct sockaddr_un)};
	struct sockaddr_un *un = (struct sockaddr_un *)&def.address;
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof(un->sun_path), "%s", path);
	return def;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in in;
	socklen_t length = sizeof(in);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	return ntohs(in.sin_port);
}

static const struct service_def root_service = {.name = "x"};

static void test_same_text_same_socket(void **state)
{
	(void)state;
	struct listen_table table = {0};
	struct listen_def one = inet_def("tcp 127.0.0.1:0", SOCK_STREAM, "127.0.0.1", 0);
	struct listen_def two = inet_def("tcp 127.0.0.2:0", SOCK_STREAM, "127.0.0.2", 0);
	int fd = listen_get(&table, &one, &root_service);
	assert_true(fd >= 0);
	assert_int_equal(listen_get(&table, &one, &root_service), fd);
	int other = listen_get(&table, &two, &root_service);
	assert_true(other >= 0 && other != fd);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);

	/* It listens: a client gets through to the queue without anybody accepting. */
	struct listen_def target = inet_def("", SOCK_STREAM, "127.0.0.1", port_of(fd));
	int client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&target.address, target.address_length),
			 0);
	close(client);

	/* A reload that asks for the first one only. */
	listen_begin(&table);
	assert_int_equal(listen_get(&table, &one, &root_service), fd);
	listen_end(&table);
	assert_int_equal(table.count, 1);
	assert_int_equal(fcntl(other, F_GETFD), -1);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(listen_close(&table, &one), 0);
	assert_int_equal(table.count, 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(listen_close(&table, &one), -1);
	assert_int_equal(errno, ENOENT);
}

static void test_an_address_that_is_not_here_yet(void **state)
{
	(void)state;
	struct listen_table table = {0};
	struct listen_def def =
		inet_def("tcp 192.0.2.1:0", SOCK_STREAM, "192.0.2.1", 0); /* TEST-NET-1, RFC 5737 */
	assert_true(listen_get(&table, &def, &root_service) >= 0);
	listen_begin(&table);
	listen_end(&table);
}

static void test_ipv6_only(void **state)
{
	(void)state;
	struct listen_table table = {0};
	struct listen_def def = {.text = "tcp [::]:0",
				 .socket_type = SOCK_STREAM,
				 .address_length = sizeof(struct sockaddr_in6)};
	def.address.ss_family = AF_INET6;
	int fd = listen_get(&table, &def, &root_service);
	if (fd < 0 && errno == EAFNOSUPPORT)
		return; /* a machine without IPv6 */
	assert_true(fd >= 0);
	int only = 0;
	socklen_t length = sizeof(only);
	assert_int_equal(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &length), 0);
	assert_int_equal(only, 1);
	listen_begin(&table);
	listen_end(&table);
}

static void test_a_taken_port_is_said(void **state)
{
	(void)state;
	struct listen_table table = {0}, other = {0};
	struct listen_def any = inet_def("tcp 127.0.0.1:0", SOCK_STREAM, "127.0.0.1", 0);
	uint16_t port = port_of(listen_get(&table, &any, &root_service));
	struct listen_def same = inet_def("same", SOCK_STREAM, "127.0.0.1", port);
	assert_int_equal(listen_get(&other, &same, &root_service), -1);
	assert_int_equal(errno, EADDRINUSE);
	assert_int_equal(other.count, 0);

	/* Datagram ports are not shared either: with SO_REUSEADDR another process could take half
	 * the packets. */
	struct listen_def udp = inet_def("udp", SOCK_DGRAM, "127.0.0.1", 0);
	port = port_of(listen_get(&table, &udp, &root_service));
	struct listen_def thief = inet_def("thief", SOCK_DGRAM, "127.0.0.1", port);
	assert_int_equal(listen_get(&other, &thief, &root_service), -1);
	assert_int_equal(errno, EADDRINUSE);
	listen_begin(&table);
	listen_end(&table);
}

/* Some kernels let root alone do so. */
static bool may_filter(void)
{
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	const struct sock_fprog program = {.len = 1, .filter = &pass};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool may = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;

	close(fd);
	return may || errno != EPERM;
}

/* Asked through the loopback interface, where a client may choose any source address of
 * 127.0.0.0/8. */
static void test_strangers_are_not_let_in(void **state)
{
	(void)state;
	if (!may_filter())
		skip();
	struct in_addr friends[2];
	inet_pton(AF_INET, "127.0.0.7", &friends[0]);
	inet_pton(AF_INET, "127.0.0.8", &friends[1]);
	struct service_def owner = {.name = "x", .listen_from = friends, .listen_from_count = 2};
	struct listen_table table = {0};
	struct listen_def def = inet_def("tcp 127.0.0.1:0", SOCK_STREAM, "127.0.0.1", 0);
	int fd = listen_get(&table, &def, &owner);
	assert_true(fd >= 0);
	struct listen_def target = inet_def("", SOCK_STREAM, "127.0.0.1", port_of(fd));
	static const struct {
		const char *source;
		bool friend;
	} row[] = {{"127.0.0.7", true},
		   {"127.0.0.8", true},
		   {"127.0.0.9", false},
		   {"127.0.0.1", false}};
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct listen_def source = inet_def("", SOCK_STREAM, row[i].source, 0);
		int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_int_equal(
			bind(client, (struct sockaddr *)&source.address, source.address_length), 0);
		int result =
			connect(client, (struct sockaddr *)&target.address, target.address_length);
		assert_true(result == 0 || errno == EINPROGRESS);
		struct pollfd answer = {.fd = client, .events = POLLOUT};
		assert_int_equal(poll(&answer, 1, row[i].friend ? 10000 : 200),
				 row[i].friend ? 1 : 0);
		close(client);
	}
	/* The service itself cannot open the door. */
	int zero = 0;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof(zero)), -1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &zero, sizeof(zero)), -1);
	listen_begin(&table);
	listen_end(&table);
}

static void test_unix_sockets(void **state)
{
	(void)state;
	char path[100];
	snprintf(path, sizeof(path), "%s/s", directory);
	struct listen_def def = unix_def("unix s", path);
	struct service_def owner = {.name = "x", .has_user = geteuid() == 0, .uid = 33, .gid = 33};
	struct listen_table first = {0}, second = {0};
	assert_true(listen_get(&first, &def, &owner) >= 0);
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	if (owner.has_user)
		assert_int_equal(st.st_uid, 33);

	/* Left behind by a process that is gone: replaced. */
	listen_begin(&first);
	listen_end(&first);
	assert_true(listen_get(&second, &def, &owner) >= 0);
	listen_begin(&second);
	listen_end(&second);

	/* Not a socket: left alone. */
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	assert_int_equal(listen_get(&first, &def, &owner), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	unlink(path);
}

static void test_limits(void **state)
{
	(void)state;
	struct listen_table table = {0};
	char text[LISTEN_TEXT_BYTES + 1];
	memset(text, 'x', sizeof(text));
	text[LISTEN_TEXT_BYTES] = '\0';
	struct listen_def def = inet_def(text, SOCK_STREAM, "127.0.0.1", 0);
	assert_int_equal(listen_get(&table, &def, &root_service), -1);
	assert_int_equal(errno, ENAMETOOLONG);

	for (int i = 0; i < LISTEN_SOCKETS_MAX + 1; i++) {
		snprintf(text, sizeof(text), "tcp %d", i);
		int fd = listen_get(&table, &def, &root_service);
		assert_true(i < LISTEN_SOCKETS_MAX ? fd >= 0 : fd == -1 && errno == ENFILE);
	}
	listen_begin(&table);
	listen_end(&table);
	assert_int_equal(table.count, 0);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_text_same_socket),
		cmocka_unit_test(test_an_address_that_is_not_here_yet),
		cmocka_unit_test(test_ipv6_only),
		cmocka_unit_test(test_a_taken_port_is_said),
		cmocka_unit_test(test_strangers_are_not_let_in),
		cmocka_unit_test(test_unix_sockets),
		cmocka_unit_test(test_limits),
	};
	own_network();
	return cmocka_run_group_tests_name("process/listen", tests, setup, teardown);
}
