"""In what each rival differs from what its authors published: nobody's method is to be judged by our changes to it."""

from __future__ import annotations

DEPARTURES: dict[str, str] = {
    "knn": "equal scores go to the better model on train",
    "embedllm-knn": "questions as near as the 131st count, too; a model without an answer there has its train mean",
    "avengers": (
        "ours (original=no) has 64 clusters, one start of k-means (n_init), centres of unit length, and ties by the "
        "train mean; the released code's settings (original=yes) are 32 clusters, ten starts, means as they are for "
        "centres, and ties by name; by default cross-validation on train rows chooses. In both: one call and no "
        "vote over samples, train rows in an order of their own, scores between 0 and 1 averaged as they are, and a "
        "model's train mean where it has no answer in a cluster"
    ),
    "avengers-pro": (
        "a model's dollars in a cluster are its mean dollars times the tokens that it takes there over those "
        "anywhere; one start of k-means; centres of unit length"
    ),
    "embedllm": (
        "ours (original=no) standardises vectors, adds noise of 1.4, goes down by AdamW in shuffled steps of 1e-3, "
        "at least 300, and stops early by a tenth of train; the released code's settings (original=yes) are raw "
        "vectors, noise of 0.05, Adam in steps of 1e-4 in one order, and 50 passes over all rows; by default "
        "cross-validation on train rows chooses. In both: scores between 0 and 1 are soft labels, and a step takes "
        "questions with all their models, which share their noise"
    ),
    "zooter": (
        "recorded scores stand for a reward model's and clusters for tags; a linear map over frozen vectors for the "
        "encoder; stops early by a tenth of train"
    ),
    "model-sat": (
        "a regression over frozen vectors stands for the encoder of 4 to 7 billion parameters, and clusters of "
        "train rows for the tasks in which capabilities are measured"
    ),
    "routerdc": "a linear map over frozen vectors stands for the encoder, unless finetune=yes trains it",
    "routellm": ("recorded scores stand for people's votes; vectors are standardised; stops early by a tenth of train"),
    "graphrouter": "no descriptions of tasks, which would tell where a question comes from",
    "graphrouter-oracle": "the name of a question's dataset stands for the description of its task",
    "svm": (
        "of equally good models of a train question the better on train is taken; the bank's vectors for Longformer's"
    ),
    "mlp": (
        "of equally good models of a train question the better on train is taken; the bank's vectors for Longformer's"
    ),
    "elo": (
        "all pairs of models play on each train question and equal scores are draws, where the original has only "
        "the best model of a question play, and win over its equals; a slight penalty keeps ratings finite"
    ),
    "hybridllm": (
        "a network over frozen vectors stands for DeBERTa, as in LLMRouter, whose settings these are; one recorded "
        "score a model stands for several samples; the cheapest model is the small one and the best on train the "
        "large one"
    ),
    "frugalgpt": (
        "a logistic regression over the vectors of question and answer stands for DistilBERT; thresholds are chosen "
        "among six quantiles of what scorers say of rows that they did not learn from; chains go from cheap to "
        "dear; the budget is what the best model on train costs; a call costs its model's mean dollars"
    ),
    "automix": (
        "a fixed threshold on the share of checks stands for its decision process (POMDP), which needs recorded "
        "checks; checks are asked for without examples; the cheapest model is the small one and the best on train "
        "the large one"
    ),
}
