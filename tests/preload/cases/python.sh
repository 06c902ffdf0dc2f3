# Files, directories, modules, child processes, memory maps.
unset PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX
/usr/bin/python3 - "$1" <<'END'
import ctypes, glob, json, mmap, os, pathlib, shutil, subprocess, sys, tempfile
top = pathlib.Path(sys.argv[1])
os.chdir(top)
with open("text", "w") as file:
    for i in range(1000):
        file.write(f"line {i}\n")
with open("text") as file:
    lines = file.readlines()
print(len(lines), lines[-1].strip(), os.path.getsize("text"))
with open("binary", "wb+") as file:
    file.write(bytes(range(256)))
    file.seek(100)
    print(file.read(3), file.tell())
    file.truncate(150)
print(os.stat("binary").st_size)
os.makedirs("a/b/c")
for name in ("a/one", "a/b/two", "a/b/c/three"):
    pathlib.Path(name).write_text(name)
for where, below, files in os.walk("a"):
    print(where, sorted(below), sorted(files))
print(sorted(entry.name for entry in os.scandir("a/b") if entry.is_dir()))
print(sorted(glob.glob("a/**/*", recursive=True)))
os.mkdir("package")
pathlib.Path("package/__init__.py").write_text("from .inner import value\n")
pathlib.Path("package/inner.py").write_text("value = 42\n")
sys.path.insert(0, str(top))
import package
print(package.value, sorted(os.listdir("package/__pycache__"))[0].split(".")[0])
shutil.copytree("a", "copy")
shutil.rmtree("a")
print(sorted(os.listdir()))
print(subprocess.run(["cat", "copy/one"], stdout=subprocess.PIPE).stdout)
with open("from-child", "w") as file:
    subprocess.run("echo shell; echo again", shell=True, stdout=file)
print(open("from-child").read().split())
print(subprocess.run(["pwd"], cwd="copy", stdout=subprocess.PIPE, text=True).stdout.strip()[-5:])
with tempfile.TemporaryDirectory(dir=top) as name:
    with tempfile.NamedTemporaryFile(dir=name) as file:
        file.write(b"x" * 100)
        file.flush()
        print(os.path.getsize(file.name))
with tempfile.TemporaryFile(dir=top) as file:
    file.write(b"nameless")
    file.seek(0)
    print(file.read())
    subprocess.run("echo from a child; echo and another", shell=True, stdout=file)
    file.seek(0)
    print(file.read())
with open("binary", "r+b") as file:
    with mmap.mmap(file.fileno(), 0) as memory:
        memory[0:4] = b"abcd"
print(open("binary", "rb").read(6))
pid = os.fork()
if pid == 0:
    with open("forked", "w") as file:
        file.write("child")
    os._exit(0)
os.waitpid(pid, 0)
print(open("forked").read())
try:
    open("none")
except FileNotFoundError as error:
    print(error.errno)
os.symlink("text", "link")
print(os.readlink("link"), os.path.islink("link"), os.path.realpath("link")[-5:])
json.dump({"a": [1, 2]}, open("json", "w"))
print(json.load(open("json")))
END
