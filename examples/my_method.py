"""A new imitation method from idea to scored run: python examples/my_method.py [TASK OUT]

The idea: answer with the label this annotator gave to the most similar training item, and with that explanation.
"""

import sys
from pathlib import Path

from hlvbench.api import Settings, read_scores, register_method, render_answer, run


def nearest_by_words(task):
    words = {i: set(item.joined.lower().split()) for i, item in task.items.items()}

    def answer(query):
        mine, own = words[query.item], task.records_of("train", query.annotator)
        best = max(own, key=lambda r: len(mine & words[r.item]) / len(mine | words[r.item]))
        return render_answer(task, best.label, best.explanation)

    return answer


if __name__ == "__main__":
    task, out = sys.argv[1:] if len(sys.argv) == 3 else ("demo", "my-run")
    register_method("nearest-by-words", nearest_by_words)
    folder = run(Settings("nearest-by-words:", task=(task,)), out=Path(out))
    report = read_scores(folder)[0]
    for score in [*report.find("label_kappa"), *report.find("hlv_index")]:
        print(score.metric, score, score.signature)
