"""The stages build, test and sanitize of tools/gpu-check."""
import os
import re
import shutil
import tarfile
import time
import xml.etree.ElementTree as xml

from .stage import CARRIED, PACKAGES, Failed, output_of


def dependencies(build):
    """The folder of the carried packages, unpacked once; None where the system has what is needed."""
    if (CARRIED / "usr").is_dir():
        return CARRIED
    if not PACKAGES.exists():
        return None
    folder, stamp = build / "deps", build / "deps/.stamp"
    current = str(PACKAGES.stat().st_size)
    if not stamp.exists() or stamp.read_text() != current:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with tarfile.open(PACKAGES) as archive:
            archive.extractall(folder)
        stamp.write_text(current)
    return folder


def environment(build):
    """For cmake, the compilers and ctest: the toolkit, and the carried packages in front of the system's."""
    env = dict(os.environ)
    env["PATH"] += ":/usr/local/cuda/bin"
    folder = dependencies(build)
    if folder:
        arch = output_of("g++", "-print-multiarch") or "x86_64-linux-gnu"
        libraries = [folder / "usr/lib" / arch, folder / "usr/lib", folder / "lib" / arch]
        env["CMAKE_PREFIX_PATH"] = str(folder / "usr")
        env["CPATH"] = str(folder / "usr/include" / arch)
        # An old-style run path serves the libraries' own libraries too, and no other program: LD_LIBRARY_PATH would
        # hand them to cmake and python as well.
        env["LDFLAGS"] = f"-Wl,--disable-new-dtags,-rpath,{':'.join(map(str, libraries))}"
    return env


def stage_build(stage):
    env = environment(stage.build)
    start = time.monotonic()
    configure = ["cmake", "-S", ".", "-B", stage.build, "-DCMAKE_stage.build_TYPE=Release", "-DTERN_CUDA=ON",
                 f"-DCMAKE_CUDA_ARCHITECTURES={stage.args.arch}"]
    if shutil.which("ninja") and not (stage.build / "CMakeCache.txt").exists():
        configure += ["-G", "Ninja"]
    summary = stage.need(configure, env=env)
    stage.result["configuration"] = [line[3:] for line in summary.splitlines() if line.startswith("--   ")]
    output = stage.need(["cmake", "--build", stage.build, "--target", "tern_tests", "bench_step", "--parallel", os.cpu_count()], env=env)
    stage.result["seconds"] = time.monotonic() - start
    stage.result["warnings"] = [line for line in output.splitlines() if "warning" in line.lower()][:100]
    stage.say(f"{stage.result['seconds']:.0f} s, {len(stage.result['warnings'])} warnings")


def stage_test(stage):
    stage.program("tern_tests")
    report = stage.out / "junit.xml"
    # The emulation is for machines without a GPU; interop compares on the CPU and takes long.
    status, _ = stage.run(["ctest", "--test-dir", stage.build, "--parallel", 8, "--output-on-failure", "-E", "^(emulated_|interop$)",
                           "--output-junit", report], env=environment(stage.build))
    if not report.exists():
        raise Failed("ctest wrote no report" + (": it ran out of time" if status is None else ""))
    entries = xml.parse(report).getroot().findall("testcase")
    report.unlink()
    tests = {"passed": [], "failed": [], "skipped": []}
    for entry in entries:
        kind = {"run": "passed", "fail": "failed"}.get(entry.get("status"), "skipped")
        one = {"name": entry.get("name"), "seconds": float(entry.get("time") or 0)}
        if kind == "failed":
            one["output"] = (entry.findtext("system-out") or "")[-20000:]
        tests[kind].append(one)
    stage.result["tests"] = tests
    stage.say(", ".join(f"{len(those)} {kind}" for kind, those in tests.items()))
    for one in tests["failed"]:
        # Catch2 puts the names of a failed case and its sections between two lines of dashes.
        cases = re.findall(r"^-{70,}\n((?:[^-.\n].*\n)+)-{70,}$", one["output"], re.MULTILINE)
        one["cases"] = list(dict.fromkeys(" / ".join(line.strip() for line in case.splitlines()) for case in cases))
        stage.say(f"failed: {one['name']}: {len(one['cases'])} cases")
        stage.lines += [f"  {case}" for case in one["cases"][:12]]
    if tests["failed"] or status != 0:
        raise Failed("ctest ran out of time" if status is None else f"{len(tests['failed'])} of ctest's tests failed")


def stage_sanitize(stage):
    sanitizer = shutil.which("compute-sanitizer", path=os.environ["PATH"] + ":/usr/local/cuda/bin")
    if not sanitizer:
        raise Failed("compute-sanitizer is not installed here: nothing was checked")
    tests = stage.program("tern_tests")
    kinds = ["memcheck", "racecheck", "initcheck"]
    bad = []
    for i, kind in enumerate(kinds):
        status, output = stage.run([sanitizer, "--tool", kind, "--error-exitcode", 86, tests, stage.args.tests],
                                   limit=stage.left() / (len(kinds) - i))
        found = re.findall(r"^========= (?:ERROR SUMMARY|RACECHECK SUMMARY): (\d+)", output, re.MULTILINE)
        problem = re.search(r"^========= (?:Error: .*|.*(?:Device not supported|Internal Sanitizer Error).*)$", output, re.MULTILINE)
        one = {"status": status, "findings": int(found[-1]) if found else None, "output": output[-20000:]}
        if problem and not found:
            verdict = f"does not work here ({problem.group(0)[10:].strip()}): nothing was checked"
        elif status is None:
            verdict = f"not finished in time, {output.count('=========     at ')} findings so far"
        elif "No tests ran" in output or not found:
            verdict = "checked nothing: " + (output.strip().splitlines() or ["no output"])[-1]
        else:
            verdict = f"{one['findings']} findings" + ("" if status in (0, 86) else f", but the tests exit with {status}")
        one["verdict"] = verdict
        stage.result[kind] = one
        stage.say(f"{kind}: {verdict}")
        if verdict != "0 findings":
            bad.append(kind)
    if bad:
        raise Failed("not clean: " + ", ".join(bad))
