"""Every configuration file composes and builds; every fault names path, expected and found."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf, open_dict

import conf
from meta_controller.config import FixedController
from regimes.config import RegimeConfig
from regimes.kinds import MODELS
from training.agents import build_learner
from training.config import RECORDED, AgentConfig, TrainConfig, differences
from training.errors import ConfigError
from training.preparation import learner_env
from training.sb3.option_config import OptionAgentConfig
from training.tasks.market import MarketTask

CONF = Path(conf.__file__).parent
GROUPS = sorted(
    (path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if path.parent.name != "hydra"
)
MARKETS = sorted(path.stem for path in CONF.glob("market/*.yaml"))
REGIMES = sorted(path.stem for path in CONF.glob("regime/*.yaml"))
BESIDE = {"oracle": ("market=regime_gbm",)}
NEEDED = {
    "files": ("data.path=/nowhere/bars.csv",),
    "yfinance": ("data.symbols=[AAPL]", "data.start=2020-01-01"),
    "ccxt": ("data.symbols=[BTC/USDT]", "data.start=2020-01-01"),
}


def composed(*overrides: str) -> Any:
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=list(overrides))
    with open_dict(cfg):
        cfg.pop("resume")
    return cfg


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize(("group", "option"), GROUPS)
def test_every_option_of_every_group_is_a_valid_configuration(group: str, option: str) -> None:
    overrides = [f"{group}={option}", *NEEDED.get(option, ()), *BESIDE.get(option, ())]
    config = TrainConfig.from_hydra(composed(*overrides))
    assert TrainConfig.from_container(config.to_container()) == config


@pytest.mark.parametrize("market", [None, *MARKETS])
def test_the_files_say_every_value_so_that_each_can_be_overridden_by_its_name(
    market: str | None,
) -> None:
    cfg = composed(*([f"market={market}"] if market else []))
    written = set(flat(OmegaConf.to_container(cfg)))  # type: ignore[arg-type]  # a mapping at its root
    known = set(flat(TrainConfig.from_hydra(cfg).to_container()))
    assert known - written == (set(RECORDED) if market else set())


@pytest.mark.parametrize("regime", REGIMES)
def test_the_files_say_every_value_of_a_detector(regime: str) -> None:
    cfg = composed(f"regime={regime}", *BESIDE.get(regime, ()))
    written: Any = OmegaConf.to_container(cfg.regime) if cfg.regime is not None else None
    known = TrainConfig.from_hydra(cfg).to_container()["regime"]
    assert (written is None) == (known is None) == (regime == "none")
    assert set(flat(written or {})) == set(flat(known or {}))


def test_every_kind_of_detector_has_a_file_with_its_defaults() -> None:
    for kind in MODELS:
        regime = TrainConfig.from_hydra(composed(f"regime={kind}")).regime
        assert isinstance(regime, RegimeConfig)
        if kind != "switching_regression":  # which has fat tails and lags of its own there
            assert regime.detector == type(regime.detector)()
    named, plain = (composed(f"regime={name}").regime for name in ("student_hmm", "hmm"))
    assert named == plain


def test_by_default_nothing_is_known_of_regimes() -> None:
    assert TrainConfig.from_hydra(composed()).regime is None
    assert TrainConfig.from_hydra(composed("market=regime_gbm")).regime is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("regime=oracle",), ("regime", "a detector", "none on recorded data", "found oracle")),
        (
            ("market=regime_gbm", "regime=hmm"),
            ("regime", "oracle", "none", "market.world.regime", "found student_hmm"),
        ),
        (("regime=hmm", "regime.detector.num_regimes=0"), ("regime.detector.num_regimes", "was 0")),
        (("regime=hmm", "+regime.detector.states=3"), ("regime.detector.states", "unknown key")),
        (("regime=hmm", "regime.inputs.lags=2"), ("regime", "inputs.lags", "student_hmm", "was 2")),
        (("regime=hmm", "regime.window=9", "regime.refit_every=9"), ("window", "refit_every = 9")),
        (("regime=hmm", "regime.detector.kind=hmm"), ("regime.detector", "student_hmm", "hmm")),
    ],
)
def test_a_fault_of_a_regime_is_named(overrides: tuple[str, ...], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig.from_hydra(composed(*overrides))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("market", MARKETS)
def test_a_market_stands_alone_with_its_own_parameters_and_discount(market: str) -> None:
    config = TrainConfig.from_hydra(composed(f"market={market}"))
    assert config.market is not None
    assert (config.data, config.split, config.features, config.env) == (None,) * 4
    world = config.market.world
    np.testing.assert_allclose(
        world.stream().parameters_Q, type(world)().stream().parameters_Q, rtol=1e-12
    )
    assert config.agent.ppo.discount == config.market.world.discount
    assert config.market.expected_reward
    assert config.schedule.select == "last"
    longer = composed(f"market={market}", "market.world.discount=0.95")
    assert TrainConfig.from_hydra(longer).agent.ppo.discount == 0.95


@pytest.mark.parametrize("market", MARKETS)
def test_a_tiny_run_is_tiny_on_a_market_too(market: str) -> None:
    config = TrainConfig.from_hydra(composed(f"market={market}", "debug=tiny"))
    assert config.schedule.total_steps == 4096
    assert config.agent.policy.hidden == (8,)
    assert config.evaluation.optimality.episodes == 64


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("market=regime_gbm", "data=nasdaq"), ("market", "data, split", "beside data")),
        (("~split",), ("market", "no market and no split")),
        (("market=regime_gbm", "market.world.limit=-1"), ("market", "limit", "-1")),
        (("market=regime_gbm", "market.world.transition=[[1.0]]"), ("market", "transition")),
        (("market=regime_gbm", "+market.world.speed=1"), ("market", "speed")),
        (("market=regime_gbm", "market.world.kind=gbm"), ("market.world", "regime_gbm", "gbm")),
        (("market=regime_gbm", "seed=9999", "seeds=2"), ("optimality.seed", "9999 .. 10000")),
    ],
)
def test_a_fault_of_a_market_is_named(overrides: tuple[str, ...], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig.from_hydra(composed(*overrides))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("env", ["portfolio", "long_short", "timing"])
def test_the_learner_is_told_the_time_left_only_where_configured(env: str) -> None:
    for told, overrides in ((False, []), (True, ["env.observation.time_left=true"])):
        config = TrainConfig.from_hydra(composed(f"env={env}", *overrides))
        assert learner_env(config).observation.time_left is told


def test_the_default_agent_is_the_same_in_python_and_in_the_files() -> None:
    assert TrainConfig.from_hydra(composed()).agent == AgentConfig()


def test_a_configuration_file_gives_an_equal_configuration(tmp_path: Path) -> None:
    config = TrainConfig.from_hydra(composed("seed=7", "agent.ppo.epochs=3"))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.to_container()))
    assert TrainConfig.from_yaml(path) == config
    assert config.seed == 7
    assert config.agent.ppo.epochs == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seeds=0", ("seeds", "greater than or equal to 1", "0")),
        ("seed=three", ("seed", "integer", "three")),
        ("+agent.ppo.gamma=0.9", ("agent.ppo.gamma", "unknown key", "0.9")),
        ("+agent.ppo.epoch=9", ("agent.ppo.epoch", "did you mean 'agent.ppo.epochs'")),
        ("env.fee.bps=-1", ("env.fee.bps", "greater than or equal to 0", "-1")),
        ("env.reward.kind=profit", ("env.reward", "log_return", "profit")),
        ("agent.ppo.minibatch=1000", ("minibatch", "divisor", "8192", "1000")),
        ("name=a/b", ("name", "pattern", "a/b")),
        ("data.dataset=nasdak", ("data", "nasdaq", "nasdak")),
        ("agent.ppo.discount=1.5", ("agent.ppo.discount", "less than or equal to 1", "1.5")),
    ],
)
def test_a_fault_names_path_expected_and_found(override: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig.from_hydra(composed(override))
    for word in words:
        assert word in str(error.value)


CONTROLLER = "agent.meta_controller.controller"


@pytest.mark.parametrize("kind", ["residual", "free", "fallback", "oracle", "fixed", "uniform"])
def test_controllers_are_chosen_by_their_kind_alone(kind: str) -> None:
    words = ["agent=options", "market=garleanu_pedersen", f"{CONTROLLER}.kind={kind}"]
    config = TrainConfig.from_hydra(composed(*words))
    assert isinstance(config.agent, OptionAgentConfig)
    assert config.agent.meta_controller.controller.kind == kind


def test_a_controller_is_written_out_with_its_values() -> None:
    fixed = f"+{CONTROLLER}={{kind: fixed, option: 2}}"
    config = TrainConfig.from_hydra(composed("agent=options", fixed))
    assert isinstance(config.agent, OptionAgentConfig)
    assert config.agent.meta_controller.controller == FixedController(option=2)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "agent.meta_controller.execution.beta_max=0",
            "agent.meta_controller.execution.beta_max: should be greater than 0, was 0",
        ),
        (
            "agent.meta_controller.execution.beta_max=1.5",
            "agent.meta_controller.execution.beta_max: should be less than or equal to 1, was 1.5",
        ),
        (
            "agent.meta_controller.execution.beta_max=nan",
            "agent.meta_controller.execution.beta_max: should be less than or equal to 1, was nan",
        ),
        (
            "agent.meta_controller.execution.beta_max=0.05",
            "agent.meta_controller.execution.initial_termination: expected below beta_max = 0.05",
        ),
        ("agent.options=[]", "agent.options: expected a length of at least 1, was []"),
        (
            "agent.options=[{kind: nope}]",
            "agent.options[0].kind: expected 'learned', 'rule' or 'frozen', found 'nope'",
        ),
        ("agent.options=[{name: cash}]", "agent.options[0].kind: expected a value, found none"),
        ("agent.options=[cash]", "agent.options[0]: should be a valid dictionary or obj"),
        (f"{CONTROLLER}.kind=nope", f"{CONTROLLER}.kind: expected 'residual', 'free', "),
        (
            f"{CONTROLLER}.kind=multiplicative_weights",
            f"{CONTROLLER}: expected another kind for training, found multiplicative_weights",
        ),
        (
            f"{CONTROLLER}.kind=oracle",
            f"{CONTROLLER}.kind: expected another kind on recorded data, whose regimes",
        ),
        (
            f"+{CONTROLLER}={{kind: fixed, option: 3}}",
            f"{CONTROLLER}.option: expected one of 0 .. 2, the numbers of agent.options, was 3",
        ),
        (
            "agent.meta_controller.terms.all_options=0.5",
            "agent.meta_controller.terms.all_options: expected 0.0 where all options act together",
        ),
        ("agent.options=[{kind: rule, name: rsi}]", "agent.options[0].name: should be 'cash'"),
        ("agent.options=[{kind: frozen}]", "agent.options[0].run: expected a value, found none"),
        (
            "+agent.meta_controller.controller={kind: uniform, floor: 0.1}",
            f"{CONTROLLER}.floor: unknown key, was 0.1; it is a key of another kind",
        ),
    ],
)
def test_a_fault_of_options_is_one_line_at_the_key_that_was_written(
    override: str, line: str
) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig.from_hydra(composed("agent=options", override))
    assert str(error.value).startswith(line)
    assert len(str(error.value).splitlines()) == 1


def test_a_head_start_leaves_something_of_the_training() -> None:
    words = ("agent=options", "schedule.total_steps=1000", "agent.meta_controller.head_start=1000")
    with pytest.raises(ConfigError, match=r"head_start: expected below .*total_steps = 1000.*1000"):
        TrainConfig.from_hydra(composed(*words))
    TrainConfig.from_hydra(composed(*words[:2], "agent.meta_controller.head_start=999"))


def test_a_head_start_is_refused_where_one_option_would_get_it_all() -> None:
    words = ("agent=options", "market=garleanu_pedersen", "agent.meta_controller.head_start=1024")
    for seen in ("known", "belief"):
        config = TrainConfig.from_hydra(composed(*words, f"market.world.regime={seen}"))
        build_learner(config, MarketTask(config), seed=0)
    config = TrainConfig.from_hydra(composed(*words, "market.world.regime=hidden"))
    with pytest.raises(ConfigError, match="head_start: expected 0 where nothing is known of reg"):
        build_learner(config, MarketTask(config), seed=0)


@pytest.mark.parametrize(
    ("seen", "rows", "message"),
    [
        ("belief", "[[1,0],[0,1]]", r"expected 3 rows of 3 numbers .*found \[2, 2\] numbers in 2"),
        ("belief", "[[1,0,1],[0,0,0],[0,0,0]]", r"expected an option for each .*none for \[1\]"),
        ("hidden", "[[1,0],[0,1],[0,0]]", "expected null where nothing is known of regimes"),
    ],
)
def test_a_map_of_regimes_that_does_not_fit_is_refused(seen: str, rows: str, message: str) -> None:
    words = ("agent=options", "market=garleanu_pedersen", f"market.world.regime={seen}")
    key = "agent.meta_controller.regime_map"
    config = TrainConfig.from_hydra(composed(*words, f"{key}={rows}"))
    with pytest.raises(ConfigError, match=f"^{key}: {message}"):
        build_learner(config, MarketTask(config), seed=0)


@pytest.mark.parametrize("option", sorted(NEEDED))
def test_what_only_the_user_knows_is_asked_for_by_its_name(option: str) -> None:
    needed = NEEDED[option][-1].partition("=")[0]
    with pytest.raises(ConfigError, match=f"{needed}|data.symbols"):
        TrainConfig.from_hydra(composed(f"data={option}"))


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig.from_hydra(composed("seeds=0", "env.fee.bps=-1"))
    assert len(str(error.value).splitlines()) == 2


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: expected the configuration of a run"):
        TrainConfig.from_yaml(tmp_path / "config.yaml")


def test_differences_name_both_values() -> None:
    left = {"a": {"b": 1, "c": 2}, "d": 3}
    right = {"a": {"b": 1, "c": 5}, "e": 4}
    assert differences(left, right) == [("a.c", 2, 5), ("d", 3, None), ("e", None, 4)]
