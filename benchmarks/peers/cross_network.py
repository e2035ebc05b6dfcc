"""A ranker in torch: DCN-V2 over the features that the trees learn from, to compare with them in one table.

Wang et al. 2021 (arXiv:2008.13535): crossed layers beside a deep one. It learns lists (the softmax of ListNet, Cao et
al. 2007): of a user's candidates, those that were taken share the chance.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.interest.train_encoder import one_cycle
from training.ranking.ranking_set import RankingSet
from zhiyin.recommender.candidates.base import Progress
from zhiyin.recommender.features import Candidates
from zhiyin.recommender.ranker import matrix
from zhiyin.recommender.state.catalogue import Floats

LISTS_AT_ONCE = 32
QUANTILES = 64


class Cross(nn.Module):
    """x0 * (W x + b) + x with W of low rank."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, rank, bias=False), nn.Linear(rank, width)

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        crossed: Tensor = first * self.up(self.down(x)) + x
        return crossed


class CrossNetwork(nn.Module):
    """Features [rows, features], NaN allowed, to scores [rows].

    A feature enters as its place among the quantiles that were seen, in [-1, 1], and as whether it is known.
    """

    edges: Tensor

    def __init__(self, edges: Floats, layers: int = 2, rank: int = 32, hidden: int = 64) -> None:
        """``edges``: float32 [features, quantiles], ascending."""
        super().__init__()
        width = 2 * len(edges)
        self.register_buffer("edges", torch.from_numpy(edges))
        self.crosses = nn.ModuleList(Cross(width, rank) for _ in range(layers))
        self.deep = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out = nn.Linear(width + hidden, 1)

    def forward(self, features: Tensor) -> Tensor:
        known = ~torch.isnan(features)
        columns = torch.nan_to_num(features).T.contiguous()
        places = (torch.searchsorted(self.edges, columns) + torch.searchsorted(self.edges, columns, right=True)).T
        x = first = torch.cat([(places / self.edges.shape[1] - 1) * known, known.to(features.dtype)], dim=1)
        for cross in self.crosses:
            x = cross(first, x)
        scores: Tensor = self.out(torch.cat([x, self.deep(first)], dim=1)).squeeze(1)
        return scores


class NetworkRanker:
    """A fitted network and the order of its features; scores as ``Ranker`` does."""

    def __init__(self, network: CrossNetwork, features: list[str]) -> None:
        self.network = network.cpu().eval()
        self.features = features

    @torch.inference_mode()
    def score(self, candidates: Candidates) -> npt.NDArray[np.float64]:
        """Float64 [candidates], higher is better; comparable within a user only."""
        rows = torch.from_numpy(matrix(candidates, self.features))
        return self.network(rows).double().numpy()  # type: ignore[no-any-return]


def fit_network(
    ranking_set: RankingSet,
    seed: int,
    progress: Progress,
    epochs: int = 4,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-4,
) -> NetworkRanker:
    """Train on a ranking set, on a GPU where there is one; the same set, seed and threads give the same network."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    features = torch.from_numpy(ranking_set.features)
    taken = torch.from_numpy(ranking_set.label).float()
    ends = np.cumsum(ranking_set.group)
    network = CrossNetwork(_quantiles(ranking_set.features, seed)).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    random = np.random.default_rng(seed)
    batches = -(-len(ends) // LISTS_AT_ONCE)
    for epoch in range(epochs):
        for number, lists in enumerate(np.array_split(random.permutation(len(ends)), batches)):
            share = (epoch + number / batches) / epochs
            optimizer.param_groups[0]["lr"] = learning_rate * one_cycle(share)
            size = ranking_set.group[lists]
            owner = np.repeat(np.arange(len(lists)), size)
            rows = np.arange(size.sum()) + np.repeat(ends[lists] - np.cumsum(size), size)
            at = (torch.from_numpy(owner), torch.from_numpy(np.arange(len(owner)) - (np.cumsum(size) - size)[owner]))
            scores = network(features[rows].to(device))
            grid = scores.new_full((len(lists), int(size.max())), -torch.inf)
            chances = torch.log_softmax(grid.index_put(at, scores), dim=1)[at]
            wanted = taken[rows].to(device)
            loss = -(chances * wanted).sum() / wanted.sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if number % 20 == 0:
                progress("network", share, f"loss {float(loss.detach()):.3f}, {len(ends):,} lists")
    progress("network", 1.0, f"{len(ends):,} lists")
    return NetworkRanker(network, ranking_set.names)


def _quantiles(features: Floats, seed: int) -> Floats:
    """Edges [features, quantiles] of what is known of each, from a sample of rows."""
    rows = np.random.default_rng(seed).permutation(len(features))[:50_000]
    share = (np.arange(QUANTILES) + 0.5) / QUANTILES
    known = [column[~np.isnan(column)] for column in features[rows].T]
    edges = [np.quantile(column, share) if len(column) else np.zeros(QUANTILES) for column in known]
    return np.asarray(edges, np.float32)
