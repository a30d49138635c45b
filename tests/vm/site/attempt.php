<?php
/*
 * What a page that has fallen into wrong hands tries. Each attempt gives what it got: false or null where it was refused, and what
 * would be an alarm otherwise. `controls` are the same ways put to an allowed use: they show that an attempt's failure means something.
 */
error_reporting(0);
$own = __DIR__;

function connects(string $address): bool|string
{
	$socket = stream_socket_client($address, $code, $text, 3);
	return $socket ? true : "$code $text";
}

/* Whether who listens there also talks to us: an accepted connection that is closed at once is a refusal. */
function stays(string $address): bool
{
	$socket = stream_socket_client($address, $code, $text, 3);
	if (!$socket)
		return false;
	stream_set_timeout($socket, 5);
	return fread($socket, 1) !== '' || stream_get_meta_data($socket)['timed_out'];
}

function write_to(string $path): bool
{
	$done = file_put_contents($path, 'x') !== false;
	if ($done)
		unlink($path);
	return $done;
}

function run_by_proc_open(): mixed
{
	$process = proc_open(['/init', 'version'], [1 => ['pipe', 'w'], 2 => ['pipe', 'w']], $pipes);
	return $process ? stream_get_contents($pipes[1]) : false;
}

function run_by_popen(): mixed
{
	$pipe = popen('/init version', 'r');
	return $pipe ? stream_get_contents($pipe) : false;
}

$attempts = [
	'shell_exec' => fn() => shell_exec('/init version'),
	'exec' => fn() => exec('/init version'),
	'system' => fn() => system('/init version'),
	'passthru' => fn() => passthru('/init version'),
	'proc_open' => run_by_proc_open(...),
	'popen' => run_by_popen(...),
	'mail' => fn() => mail('root@localhost', 'x', 'x'),
	'kill pid 1' => fn() => posix_kill(1, 0),
	'kill itself' => fn() => posix_kill(getmypid(), 0),
	'become root' => fn() => posix_setuid(0),
	'node key' => fn() => file_get_contents('/etc/supervisor/node.conf'),
	'node key through /proc' => fn() => file_get_contents('/proc/1/root/etc/supervisor/node.conf'),
	'files of /etc/supervisor' => fn() => array_values(array_diff(scandir('/etc/supervisor') ?: [], ['.', '..'])) ?: false,
	'files of /run/supervisor' => fn() => array_values(array_diff(scandir('/run/supervisor') ?: [], ['.', '..'])) ?: false,
	'control socket' => fn() => connects('unix:///run/supervisor/control') === true,
	'environment of pid 1' => fn() => file_get_contents('/proc/1/environ'),
	'memory of pid 1' => fn() => fopen('/proc/1/mem', 'r') !== false,
	'disk' => fn() => file_get_contents('/dev/vda', length: 16),
	'kernel memory' => fn() => file_get_contents('/dev/mem', length: 16),
	'write /' => fn() => write_to('/x'),
	'write /etc' => fn() => write_to('/etc/x'),
	'write /usr' => fn() => write_to('/usr/x'),
	'write /run' => fn() => write_to('/run/x'),
	'write /srv' => fn() => write_to('/srv/x'),
	'write /var/cache' => fn() => write_to('/var/cache/fscache/x'),
	'write /proc/sys' => fn() => file_put_contents('/proc/sys/kernel/hostname', 'x') !== false,
	'raw socket' => fn() => socket_create(AF_INET, SOCK_RAW, 1) !== false,
	'netlink socket' => fn() => socket_create(16, SOCK_RAW, 0) !== false,
	'replication port' => fn() => connects('tcp://10.77.0.11:7788') === true,
	'lock manager' => fn() => stays('tcp://10.77.0.11:21064'),
];
$controls = [
	'read own script' => fn() => strlen(file_get_contents(__FILE__)) > 0,
	'write own share' => fn() => write_to("$own/own-file"),
	'write /tmp' => fn() => write_to('/tmp/own-file'),
	'connect to a web server' => fn() => connects('tcp://10.77.0.100:80') === true,
	'symlink' => function () use ($own) {
		foreach (['key.txt' => '/etc/supervisor/node.conf', 'sibling.txt' => 'sibling'] as $name => $target) {
			unlink("$own/$name");
			if (!symlink($target, "$own/$name"))
				return false;
		}
		return file_put_contents("$own/sibling", "sibling\n") > 0;
	},
];

header('Content-Type: application/json');
$run = fn($try) => (function () use ($try) {
	ob_start();
	try {
		$result = $try();
	} catch (Throwable $error) {
		$result = null;
	}
	return ob_get_clean() ?: $result;
})();
echo json_encode(['attempts' => array_map($run, $attempts), 'controls' => array_map($run, $controls),
	'user' => posix_getuid()], JSON_PARTIAL_OUTPUT_ON_ERROR), "\n";
