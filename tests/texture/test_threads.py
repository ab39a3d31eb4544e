"""Work shared between threads."""

import multiprocessing
import threading
import time

import pytest
import torch

from glcm_mae.texture.threads import in_threads


@pytest.fixture(autouse=True)
def own_threads():
    """Give back the number of threads, which tests set."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("failing", range(3))
def test_what_fails_in_any_thread_is_raised(failing):
    def work(part):
        if part.start == failing:
            raise RuntimeError("broken")

    torch.set_num_threads(3)
    with pytest.raises(RuntimeError, match="broken"):
        in_threads(work, 3)


def test_what_has_failed_is_not_finished_by_other_threads():
    done = []

    def work(part):
        if threading.current_thread() is threading.main_thread():
            raise RuntimeError("broken")
        time.sleep(0.001)
        done.append(part)

    torch.set_num_threads(2)
    with pytest.raises(RuntimeError, match="broken"):
        in_threads(work, 1000)
    assert len(done) <= 2


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 3, 100, 784])
def test_threads_share_all_of_the_work_in_order(count, threads):
    parts = []
    torch.set_num_threads(threads)
    in_threads(parts.append, count)
    parts.sort(key=lambda part: part.start)
    assert [k for part in parts for k in range(part.start, part.stop)] == list(range(count))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_fork_has_threads_of_its_own():
    def work_slowly():
        at_work = set()
        in_threads(lambda part: (at_work.add(threading.get_ident()), time.sleep(0.05)), 3)
        assert len(at_work) > 1

    torch.set_num_threads(3)
    work_slowly()  # these threads are not in the process that follows
    process = multiprocessing.get_context("fork").Process(target=work_slowly)
    process.start()
    try:
        process.join(timeout=30)
        assert process.exitcode == 0
    finally:
        process.kill()
