<?php
/* A page that shows who made it: the PHP machine, the data machine behind the share, and a count that all PHP machines
 * keep in one file of the replicated filesystem, under a lock. ?json gives the same for programs. */

$share = __DIR__;
$page = [
	'host' => basename($share),
	'php' => gethostname(),
	'data' => trim((string)@file_get_contents("$share/.served-by")) ?: 'unknown',
	'web' => $_SERVER['HTTP_X_SERVED_BY'] ?? '',
	'visits' => count_visit("$share/visits"),
];

/* Reads, adds one, writes; false if the file cannot be had. The lock is one for all PHP machines of the share. */
function count_visit(string $path): int|false
{
	$file = @fopen($path, 'c+');
	if (!$file || !flock($file, LOCK_EX))
		return false;
	$visits = (int)stream_get_contents($file) + 1;
	rewind($file);
	$written = ftruncate($file, 0) && fwrite($file, "$visits\n") !== false && fflush($file);
	fclose($file);
	return $written ? $visits : false;
}

header('Cache-Control: no-store');
if (isset($_GET['json'])) {
	header('Content-Type: application/json');
	echo json_encode($page), "\n";
	exit;
}
header('Content-Type: text/html; charset=utf-8');
$text = array_map(fn($value) => htmlspecialchars($value === false ? 'not counted' : (string)$value), $page);
?>
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title><?= $text['host'] ?></title>
<style>
	body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: #10222b; color: #e8f1f2;
		font: 1.1rem/1.5 system-ui, sans-serif }
	main { padding: 2.5rem 3rem; border-radius: 1rem; background: #17313d; box-shadow: 0 1rem 3rem #0006 }
	h1 { margin: 0 0 1.5rem; font-weight: 300 }
	dl { display: grid; grid-template-columns: auto auto; gap: .4rem 2rem; margin: 0 }
	dt { color: #8fb3bf } dd { margin: 0; font-weight: 600; text-align: right }
	.way { margin: 1.8rem 0 0; color: #8fb3bf; font-size: .95rem }
	.way b { color: #7fe0c3 }
</style>
<main>
	<h1><?= $text['host'] ?></h1>
	<dl>
		<dt>page made by</dt><dd><?= $text['php'] ?></dd>
		<dt>file served by</dt><dd><?= $text['data'] ?></dd>
		<dt>visits</dt><dd><?= $text['visits'] ?></dd>
	</dl>
	<p class="way">you → lighttpd → <b><?= $text['php'] ?></b> → NFSv4 → <b><?= $text['data'] ?></b> → OCFS2 on DRBD</p>
</main>
