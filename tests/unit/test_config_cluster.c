/* cluster.conf and node.conf: what is taken, and the exact message for each thing that is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/config/cluster.h"

#define KEY_1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define KEY_2 "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
#define KEY_3 "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="
#define KEY_4 "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ="
#define KEY_5 "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU="

#define TOP "cluster = demo\nvoters = data1 data2 web1\n"
#define DATA1                                                                          \
	"[node data1]\nrole = data\naddress = 10.77.0.11/24\nkey = " KEY_1 "\ndisk = " \
	"serial:data\n"
#define DATA2 \
	"[node data2]\nrole = data\naddress = 10.77.0.12/24\nkey = " KEY_2 "\ndisk = /dev/vdb\n"
#define WEB1  "[node web1]\nrole = web\naddress = 10.77.0.31/24\nkey = " KEY_3 "\n"
#define WEB   "[address web]\naddress = 10.77.0.100/24\nrole = web\nprefer = web1\n"
#define NFS_A "[address nfs-a]\naddress = 10.77.0.101/24\nrole = data\nprefer = data1\n"
#define SHARE "[share a.example]\naddress = nfs-a\nseed = /usr/share/supervisor/site/a.example\n"
#define NODES DATA1 DATA2 WEB1
#define GOOD  TOP NODES WEB NFS_A SHARE

static struct config_report report;
static struct arena arena;

static struct cluster *parse(const char *text)
{
	memset(&report, 0, sizeof(report));
	arena_free(&arena);
	return cluster_parse(&arena, "c", text, strlen(text), &report);
}

static void takes_a_whole_cluster(void **state)
{
	(void)state;
	struct cluster *cluster = parse(GOOD);
	if (report.count > 0)
		fail_msg("%s", report.finding[0]);
	assert_non_null(cluster);
	assert_string_equal(cluster->name, "demo");
	assert_int_equal(cluster->gossip_port, GOSSIP_PORT_DEFAULT);
	assert_int_equal(cluster->node_count, 3);
	assert_int_equal(cluster->voter_count, 3);

	const struct cluster_node *data1 = cluster_find_node(cluster, "data1");
	assert_string_equal(data1->role, "data");
	assert_int_equal(ntohl(data1->address.address.s_addr), 0x0a4d000b);
	assert_int_equal(data1->address.length, 24);
	assert_int_equal(data1->key[0][31], 1);
	assert_string_equal(data1->disk, "serial:data");
	assert_int_equal(data1->id, 1);
	assert_true(data1->voter);
	assert_string_equal(cluster_peer(cluster, data1)->name, "data2");
	assert_null(cluster_peer(cluster, cluster_find_node(cluster, "web1")));
	assert_null(cluster_find_node(cluster, "web9"));

	const struct cluster_address *nfs = cluster_find_address(cluster, "nfs-a");
	assert_ptr_equal(nfs->prefer, data1);
	assert_int_equal(nfs->id, 2);
	const struct cluster_share *share = cluster_find_share(cluster, "a.example");
	assert_ptr_equal(share->address, nfs);
	assert_string_equal(share->seed, "/usr/share/supervisor/site/a.example");
}

static void takes_comments_and_a_port(void **state)
{
	(void)state;
	struct cluster *cluster =
		parse("# the demo\ngossip-port = 7000 # not the default\n\n" GOOD);
	assert_non_null(cluster);
	assert_int_equal(cluster->gossip_port, 7000);
	assert_int_equal(cluster->gateway.s_addr, 0);
	assert_int_equal(cluster->timers.drbd_timeout, 1000);
	assert_int_equal(cluster->timers.nfs_lease, 35000);
	assert_int_equal(cluster->timers.nfs_grace, 15000);
}

static void takes_two_keys_or_none(void **state)
{
	(void)state;
	struct cluster *cluster = parse(
		TOP DATA1 DATA2 "[node web1]\nrole = web\naddress = 10.77.0.31/24\nkey = " KEY_3
				" " KEY_4 "\n"
				"[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = none\n"
				"[node web3]\nrole = web\naddress = 10.77.0.33/24\nkey = none\n");
	assert_non_null(cluster);
	const struct cluster_node *web1 = cluster_find_node(cluster, "web1");
	assert_int_equal(web1->key_count, 2);
	assert_int_equal(web1->key[1][0], 4);
	const struct cluster_node *web2 = cluster_find_node(cluster, "web2");
	assert_int_equal(web2->key_count, 0);
	assert_true(cluster_has_key(web1, web1->key[0]) && cluster_has_key(web1, web1->key[1]));
	assert_false(cluster_has_key(web1, cluster->node[0].key[0]));
	assert_false(cluster_has_key(web2, web1->key[0]));
}

static void takes_a_gateway_and_timers(void **state)
{
	(void)state;
	struct cluster *cluster = parse("gateway = 10.77.0.254\ndrbd-timeout = 1500ms\n"
					"nfs-lease = 2m\nnfs-grace = 20s\n" GOOD);
	assert_non_null(cluster);
	assert_int_equal(ntohl(cluster->gateway.s_addr), 0x0a4d00fe);
	assert_int_equal(cluster->timers.drbd_timeout, 1500);
	assert_int_equal(cluster->timers.nfs_lease, 120000);
	assert_int_equal(cluster->timers.nfs_grace, 20000);
}

struct refused {
	int row;
	const char *text, *finding;
};

#define ROW(text, finding)              \
	{                               \
		__LINE__, text, finding \
	}

static const struct refused refused[] = {
	ROW("", "c:1: the top: found no key \"cluster\", expected one"),
	ROW("cluster = Demo\nvoters = data1\n" DATA1,
	    "c:1: cluster: found \"Demo\", expected a name of at most 31 of a-z 0-9 . -, the first "
	    "a letter or digit"),
	ROW("cluster = demo\ncluster = demo\nvoters = data1\n" DATA1,
	    "c:2: cluster: found a second time, expected once"),
	ROW("cluster = demo\nvoter = data1\n" DATA1,
	    "c:2: voter: unknown key in the top, did you mean \"voters\"?"),
	ROW("cluster = demo\nvoters = data1\ncolour = red\n" DATA1,
	    "c:3: colour: unknown key in the top"),
	ROW("cluster = demo\nvoters = data1 data2\n" DATA1 DATA2,
	    "c:2: voters: found 2 nodes, expected an odd number: an even one survives no more "
	    "losses"),
	ROW("cluster = demo\nvoters = data9\n" DATA1,
	    "c:2: voters: found \"data9\", expected the name of a node"),
	ROW("cluster = demo\nvoters = data1 data1 data2\n" DATA1 DATA2,
	    "c:2: voters: found \"data1\" a second time, expected once"),
	ROW("cluster = demo\nvoters = data1\ngossip-port = 0\n" DATA1,
	    "c:3: gossip-port: found \"0\", expected a number from 1 to 65535"),
	ROW("cluster = demo\nvoters = data1\ngossip-port = 080\n" DATA1,
	    "c:3: gossip-port: found \"080\", expected a number from 1 to 65535"),
	ROW(TOP "gateway = 10.77.1.254\n" NODES,
	    "c:3: gateway: expected an address in the network of node data1"),
	ROW(TOP "gateway = router\n" NODES,
	    "c:3: gateway: found \"router\", expected an IPv4 address of a host"),
	ROW(TOP "drbd-timeout = 450ms\n" NODES,
	    "c:3: drbd-timeout: found \"450ms\", expected 500ms to 60s in steps of 100ms"),
	ROW(TOP "nfs-lease = 5s\n" NODES,
	    "c:3: nfs-lease: found \"5s\", expected 10000ms to 3600s in steps of 1000ms"),
	ROW(TOP "nfs-grace = none\n" NODES,
	    "c:3: nfs-grace: found \"none\", expected 10000ms to 3600s in steps of 1000ms"),
	ROW(TOP NODES "[node web1]\nrole = web\n",
	    "c:17: node: found \"web1\" a second time, expected names to differ"),
	ROW(TOP NODES "[host web2]\n",
	    "c:17: section: found \"host\", expected node, address or share"),
	ROW(TOP NODES "[node web2\n", "c:17: section: found \"[node web2\", expected [KIND NAME]"),
	ROW(TOP NODES "[node a b]\n", "c:17: section: found \"[node a b]\", expected [KIND NAME]"),
	ROW(TOP NODES "[node]\n", "c:17: section: found \"[node]\", expected [KIND NAME]"),
	ROW(TOP NODES "[node web2]\n", "c:17: node: found no key \"role\", expected one"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/24\n",
	    "c:17: node: found no key \"key\", expected one"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.31/24\nkey = "
		      "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\n",
	    "c:17: address: found the same as of node web1, expected addresses to differ"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = " KEY_3 "\n",
	    "c:17: key: found the same as of node web1, expected a key of its own"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32\nkey = " KEY_3 "\n",
	    "c:19: address: found \"10.77.0.32\", expected an IPv4 address with its prefix length "
	    "such as 10.0.0.1/24"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/33\nkey = " KEY_3 "\n",
	    "c:19: address: found \"10.77.0.32/33\", expected an IPv4 address with its prefix "
	    "length such as 10.0.0.1/24"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 224.0.0.1/24\nkey = " KEY_3 "\n",
	    "c:19: address: found \"224.0.0.1/24\", expected an IPv4 address with its prefix "
	    "length such as 10.0.0.1/24"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = AAAA\n",
	    "c:20: key: found no such key, expected 32 bytes in base64 (supervisor keygen)"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = " KEY_4 " " KEY_4
		      "\n",
	    "c:20: key: found the same key twice"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = " KEY_4 " " KEY_5
		      " " KEY_1 "\n",
	    "c:20: key: found 3 keys, expected one, or an old and a new one"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = " KEY_4 " " KEY_2
		      "\n",
	    "c:17: key: found the same as of node data2, expected a key of its own"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = " KEY_4 " none\n",
	    "c:20: key: found no such key, expected 32 bytes in base64 (supervisor keygen)"),
	ROW(TOP NODES "[node web2]\nrole = web\naddress = 10.77.0.32/24\nkey = "
		      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
	    "c:20: key: found no such key, expected 32 bytes in base64 (supervisor keygen)"),
	ROW(TOP DATA1 DATA2 WEB1 "disk = serial:data\n",
	    "c:13: node: found \"disk\" in role web, expected it in role data only"),
	ROW("cluster = demo\nvoters = data1\n[node data1]\nrole = data\naddress = "
	    "10.77.0.11/24\nkey = " KEY_1 "\n",
	    "c:3: node: found role data without \"disk\", expected one"),
	ROW("cluster = demo\nvoters = data1\n[node data1]\nrole = data\naddress = "
	    "10.77.0.11/24\nkey = " KEY_1 "\ndisk = sda\n",
	    "c:7: disk: found \"sda\", expected /dev/PATH or serial:NAME"),
	ROW("cluster = demo\nvoters = web1\n" WEB1,
	    "c: found 0 nodes of role data, expected 1 or 2"),
	ROW(TOP NODES "[node data3]\nrole = data\naddress = 10.77.0.13/24\nkey = "
		      "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\ndisk = serial:data\n",
	    "c: found 3 nodes of role data, expected 1 or 2"),
	ROW(TOP NODES "[address web]\naddress = 10.77.0.31/24\nrole = web\nprefer = web1\n",
	    "c:17: address: found the same as of node web1, expected addresses to differ"),
	ROW(TOP NODES WEB "[address web2]\naddress = 10.77.0.100/24\nrole = web\nprefer = web1\n",
	    "c:21: address: found the same as of address web, expected addresses to differ"),
	ROW(TOP NODES "[address web]\naddress = 10.77.0.100/24\nrole = web\nprefer = web7\n",
	    "c:20: prefer: found \"web7\", expected the name of a node"),
	ROW(TOP NODES "[address web]\naddress = 10.77.0.100/24\nrole = web\nprefer = data1\n",
	    "c:20: prefer: found node \"data1\" of role data, expected one of role web"),
	ROW(TOP NODES WEB "[share a]\n", "c:21: share: found no key \"address\", expected one"),
	ROW(TOP NODES WEB "[share a]\naddress = web\n",
	    "c:22: address: found address \"web\" of role web, expected one of role data"),
	ROW(TOP NODES WEB "[share a]\naddress = nfs-x\n",
	    "c:22: address: found \"nfs-x\", expected the name of a service address"),
	ROW(TOP NODES NFS_A "[share a]\naddress = nfs-a\nseed = site/../a\n",
	    "c:23: seed: found \"site/../a\", expected an absolute path without //, . and .."),
};

static void refuses_what_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const struct refused *r = &refused[i];
		struct cluster *cluster = parse(r->text);
		if (cluster || report.count == 0)
			fail_msg("%s:%d: taken", __FILE__, r->row);
		if (strcmp(report.finding[0], r->finding) != 0)
			fail_msg("%s:%d: reported\n  %s\nexpected\n  %s", __FILE__, r->row,
				 report.finding[0], r->finding);
	}
}

static void a_refused_section_hides_only_itself(void **state)
{
	(void)state;
	assert_null(parse(TOP NODES "[host web2]\nspeed = 3\n" WEB));
	assert_int_equal(report.count, 1);
}

static void reads_the_node_file(void **state)
{
	(void)state;
	struct node_identity identity;
	const char *text = "name = web1\nsecret-key = " KEY_2 "\n";
	memset(&report, 0, sizeof(report));
	assert_true(node_identity_parse(&identity, "n", text, strlen(text), &report));
	assert_string_equal(identity.name, "web1");
	assert_int_equal(identity.secret_key[0], 2);
}

static const struct refused refused_node[] = {
	ROW("name = web1\n", "n: found no key \"secret-key\", expected one"),
	ROW("secret-key = " KEY_1 "\n", "n: found no key \"name\", expected one"),
	ROW("name = web1\nname = web2\nsecret-key = " KEY_1 "\n",
	    "n:2: name: found a second time, expected once"),
	ROW("name = web1\nsecret-key = " KEY_1 "x\n",
	    "n:2: secret-key: found no such key, expected 32 bytes in base64 (supervisor keygen)"),
	ROW("name = web1\nkey = " KEY_1 "\nsecret-key = " KEY_1 "\n",
	    "n:2: key: unknown key, expected name or secret-key"),
	ROW("[node a]\nname = web1\nsecret-key = " KEY_1 "\n",
	    "n:1: node: unknown key, expected name or secret-key"),
};

static void refuses_a_wrong_node_file(void **state)
{
	(void)state;
	static const struct node_identity nothing;
	for (size_t i = 0; i < sizeof(refused_node) / sizeof(refused_node[0]); i++) {
		const struct refused *r = &refused_node[i];
		struct node_identity identity;
		memset(&report, 0, sizeof(report));
		if (node_identity_parse(&identity, "n", r->text, strlen(r->text), &report))
			fail_msg("%s:%d: taken", __FILE__, r->row);
		if (strcmp(report.finding[0], r->finding) != 0)
			fail_msg("%s:%d: reported\n  %s\nexpected\n  %s", __FILE__, r->row,
				 report.finding[0], r->finding);
		assert_memory_equal(&identity, &nothing, sizeof(identity));
	}
}

static int cleanup(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_whole_cluster),
		cmocka_unit_test(takes_comments_and_a_port),
		cmocka_unit_test(takes_two_keys_or_none),
		cmocka_unit_test(takes_a_gateway_and_timers),
		cmocka_unit_test(refuses_what_is_wrong),
		cmocka_unit_test(a_refused_section_hides_only_itself),
		cmocka_unit_test(reads_the_node_file),
		cmocka_unit_test(refuses_a_wrong_node_file),
	};
	return cmocka_run_group_tests_name("cluster.conf and node.conf", tests, NULL, cleanup);
}
