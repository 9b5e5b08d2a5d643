"""What the pages say, in English and Korean; a key means the same in both."""

from mmfm.errors import BadInput, MmfmError, UnreadablePicture
from mmfm.tasks.classify import DEFAULTS

# On every page.
COMMON: dict[str, dict[str, str]] = {
    "en": {
        "pages": "Pages",
        "other_language": "한국어",
        "weights": "Weights",
        "bundled": "come with mmfm",
        "local": "yours, from a folder",
        "hub": "public checkpoint",
        "random": "Random weights",
        "random_note": "nothing has been learned: the page works, its answers mean nothing",
        "no_card": "what it was trained on is not said",
        "trained_on": "trained on {data}",
        "device": "Device",
        "numbers": "Numbers",
        "memory": "Memory",
        "memory_value": "{weights} of weights, {process} in use",
        "model": "Model",
        "upload": "Open a picture",
        "drop": "You can also drop or paste one anywhere on this page.",
        "yours": "Your picture",
        "astronaut": "Astronaut",
        "cat": "Cat",
        "coffee": "Coffee",
        "rocket": "Rocket",
        "shapes": "Shapes",
        "stripes": "Stripes",
        "failed": "That did not work",
        "unreadable": "This is no picture that can be read: {reason}.",
        "bad_value": "A value of this request is not possible: {reason}.",
        "other_error": "{reason}",
        "no_script": "This page needs JavaScript.",
    },
    "ko": {
        "pages": "페이지",
        "other_language": "English",
        "weights": "가중치",
        "bundled": "mmfm에 들어 있어요",
        "local": "내 폴더에서 불러왔어요",
        "hub": "공개 체크포인트",
        "random": "무작위 가중치",
        "random_note": "아직 아무것도 배우지 않았어요. 화면은 움직이지만 답에는 의미가 없어요",
        "no_card": "무엇으로 학습했는지 적혀 있지 않아요",
        "trained_on": "{data}로 학습했어요",
        "device": "장치",
        "numbers": "수 형식",
        "memory": "메모리",
        "memory_value": "가중치 {weights}, 사용 중 {process}",
        "model": "모델",
        "upload": "그림 열기",
        "drop": "이 페이지 아무 곳에나 그림을 끌어다 놓거나 붙여 넣어도 돼요.",
        "yours": "내 그림",
        "astronaut": "우주비행사",
        "cat": "고양이",
        "coffee": "커피",
        "rocket": "로켓",
        "shapes": "도형",
        "stripes": "줄무늬",
        "failed": "잘되지 않았어요",
        "unreadable": "그림으로 읽을 수 없는 파일이에요. 5천만 픽셀 이하의 JPEG, PNG, WebP "
        "파일을 골라 주세요.",
        "bad_value": "요청에 쓸 수 없는 값이 있어요: {reason}",
        "other_error": "오류가 났어요: {reason}",
        "no_script": "이 페이지에는 자바스크립트가 필요해요.",
    },
}

# What clip-nano knows, on the pages that it answers on; in English as the commands say it.
KNOWS_THINGS = {
    "en": f"This small model has seen {DEFAULTS['clip-nano']}. Drawn shapes it never saw.",
    "ko": "이 작은 모델은 일상에서 보는 200가지쯤의 작은 사진과 이모지를 영어와 한국어로 배웠어요. "
    "도형 그림은 본 적이 없어요.",
}

PATCHES: dict[str, dict[str, str]] = {
    "en": {
        **COMMON["en"],
        "title": "Patch Lens",
        "tagline": "See a picture the way a vision transformer does: as patches that look at "
        "one another.",
        "pictures": "Choose a picture",
        "cut": "What the model sees: {width} × {height} pixels, cut into {count} patches",
        "grid_label": "Patches of the picture",
        "patch": "Patch in row {row}, column {column}",
        "masked": "masked",
        "asker": "Who is looking?",
        "cls": "CLS",
        "cls_title": "CLS: the token that sums the picture up",
        "distillation": "DIST",
        "distillation_title": "DIST: a second summary, learned from a teacher",
        "register": "REG {number}",
        "register_title": "Register {number}: scratch paper for the model",
        "mean": "Mean",
        "mean_title": "Mean: over all patches; the answer is made from it",
        "probe": "Probe",
        "probe_title": "Probe: the question that gathers the answer from all patches, after the "
        "last layer",
        "look_mode": "Look",
        "mask_mode": "Mask",
        "mode": "A click on a patch means",
        "mask_top": "Mask the most attended 25 %",
        "mask_random": "Mask 25 % at random",
        "clear": "Clear",
        "keys": "Point at a patch, click it, or walk with the arrow keys. Space masks it; Esc "
        "goes back to the summary.",
        "says_most": "{who} takes most from row {row}, column {column}: {share}",
        "of_whole": "(in the whole picture, before masking)",
        "layer": "Layer {layer} of {depth}",
        "heads": "Heads",
        "average": "Mean",
        "head": "Head {head}",
        "rollout": "Rollout",
        "rollout_note": "attention followed through all layers",
        "alike": "Most alike",
        "alike_note": "the patches with the nearest tokens after this layer",
        "no_alike": "the probe is a question and has no token of its own",
        "answer": "What the model says",
        "all_seen": "It sees all {total} patches. Mask some, and watch the bars move.",
        "some_seen": "It sees {kept} of {total} patches. The line marks the whole picture.",
        "none_left": "At least one patch has to stay.",
        "no_classes": "This model has no classes. Its summary is compared with that of the "
        "whole picture instead.",
        "likeness": "Likeness to the whole picture",
        "class": "class {number}",
        "sizes": "What if the patches were smaller?",
        "sizes_label": "Side of a patch, in pixels",
        "sizes_note": "The same model with other patches; it would have to be trained anew. "
        "Half the side gives four times the patches, and sixteen times the pairs that look at "
        "each other.",
        "size_column": "Patch",
        "tokens_column": "Tokens",
        "attention_column": "Attention",
        "total_column": "All",
        "unit": "Work for one picture, in FLOP (M: million, G: billion). From tick to tick a bar "
        "grows tenfold.",
        "this_model": "this model",
        "lessons": "What am I looking at?",
        "lesson_patch": "A patch",
        "lesson_patch_text": "A small square of the picture. The model does not read pixel by "
        "pixel: it cuts the picture into squares and writes each of them out as one row of "
        "numbers.",
        "lesson_token": "A token",
        "lesson_token_text": "The list of numbers that stands for a patch inside the model. It "
        "starts from the patch's pixels and its place, and each layer changes it. Tokens of no "
        "patch stand beside them: CLS collects the summary, registers are scratch paper.",
        "lesson_attention": "Attention",
        "lesson_attention_text": "In each layer every token asks all tokens a question and "
        "takes a share from each; the shares add up to 100 %. Each head asks a question of its "
        "own. Bright patches give the largest shares, relative to the brightest one. Shares "
        "that go to CLS or registers are not drawn.",
        "lesson_rollout": "Rollout",
        "lesson_rollout_text": "One layer shows one step. Rollout multiplies the steps of all "
        "layers, averaged over heads, and counts the shortcut around each layer as half. So it "
        "estimates from which patches a token's contents came (Abnar & Zuidema 2020).",
        "lesson_caution": "Not an explanation",
        "lesson_caution_text": "Attention shows where the model looks, not why it decides. "
        "Much is carried by what is taken, not by how much, and by the layers between. Test "
        "it: mask what was looked at most, then the same number at random, and compare the "
        "answers.",
    },
    "ko": {
        **COMMON["ko"],
        "title": "패치 렌즈",
        "tagline": "비전 트랜스포머의 눈으로 그림을 보세요. 그림은 패치로 나뉘고, 패치들은 "
        "서로를 바라봐요.",
        "pictures": "그림을 골라 보세요",
        "cut": "모델이 보는 그림: {width} × {height}픽셀, 패치 {count}개",
        "grid_label": "그림의 패치들",
        "patch": "{row}행 {column}열 패치",
        "masked": "가려짐",
        "asker": "누가 보고 있나요?",
        "cls": "CLS",
        "cls_title": "CLS: 그림 전체를 요약하는 토큰",
        "distillation": "DIST",
        "distillation_title": "DIST: 교사 모델에게 배운 두 번째 요약",
        "register": "REG {number}",
        "register_title": "레지스터 {number}: 모델이 쓰는 메모지",
        "mean": "평균",
        "mean_title": "평균: 모든 패치의 평균으로 답을 만들어요",
        "probe": "질문",
        "probe_title": "질문: 마지막 층 뒤에서 모든 패치로부터 답을 모아요",
        "look_mode": "보기",
        "mask_mode": "가리기",
        "mode": "패치를 누르면",
        "mask_top": "가장 많이 본 25% 가리기",
        "mask_random": "무작위로 25% 가리기",
        "clear": "모두 보이기",
        "keys": "패치를 가리키거나 누르거나 화살표 키로 옮겨 다녀 보세요. 스페이스 키로 "
        "가리고, Esc 키로 요약으로 돌아가요.",
        "says_most": "{who}: {row}행 {column}열을 가장 많이 봐요 ({share})",
        "of_whole": "· 가리기 전 그림 전체에서",
        "layer": "{depth}개 층 가운데 {layer}번째",
        "heads": "헤드",
        "average": "평균",
        "head": "헤드 {head}",
        "rollout": "롤아웃",
        "rollout_note": "모든 층에 걸쳐 따라간 어텐션",
        "alike": "가장 비슷한 패치",
        "alike_note": "이 층을 지난 뒤 토큰이 가장 가까운 패치들",
        "no_alike": "질문에는 자기 토큰이 없어요",
        "answer": "모델의 답",
        "all_seen": "패치 {total}개를 모두 보고 있어요. 몇 개를 가리고 막대가 어떻게 "
        "움직이는지 보세요.",
        "some_seen": "패치 {total}개 가운데 {kept}개를 보고 있어요. 세로선은 그림 전체를 봤을 "
        "때의 값이에요.",
        "none_left": "패치가 적어도 하나는 남아 있어야 해요.",
        "no_classes": "이 모델에는 분류할 이름이 없어요. 그래서 그림 전체를 봤을 때의 요약과 "
        "얼마나 비슷한지 보여 드려요.",
        "likeness": "전체를 봤을 때와 비슷한 정도",
        "class": "{number}번 분류",
        "sizes": "패치가 더 작다면 어떨까요?",
        "sizes_label": "패치 한 변의 픽셀 수",
        "sizes_note": "같은 모델에서 패치 크기만 바꾼 경우예요. 실제로는 새로 학습해야 해요. "
        "한 변이 절반이 되면 패치는 네 배, 서로를 바라보는 쌍은 열여섯 배가 돼요.",
        "size_column": "패치",
        "tokens_column": "토큰",
        "attention_column": "어텐션",
        "total_column": "전체",
        "unit": "그림 한 장에 드는 계산량(FLOP)이에요. M은 백만, G는 십억이에요. 막대는 눈금 "
        "하나마다 열 배씩 커져요.",
        "this_model": "이 모델",
        "lessons": "지금 무엇을 보고 있나요?",
        "lesson_patch": "패치",
        "lesson_patch_text": "그림의 작은 정사각형 조각이에요. 모델은 픽셀을 하나씩 읽지 "
        "않아요. 그림을 정사각형으로 자르고, 조각마다 한 줄의 숫자로 풀어 써요.",
        "lesson_token": "토큰",
        "lesson_token_text": "모델 안에서 패치 하나를 나타내는 숫자 목록이에요. 패치의 픽셀과 "
        "위치에서 시작해 층을 지날 때마다 바뀌어요. 패치가 아닌 토큰도 있어요. CLS는 요약을 "
        "모으고, 레지스터는 메모지처럼 쓰여요.",
        "lesson_attention": "어텐션",
        "lesson_attention_text": "층마다 모든 토큰이 다른 모든 토큰에게 질문하고, 저마다 "
        "조금씩 가져와요. 가져온 몫을 더하면 100%예요. 헤드마다 질문이 달라요. 밝은 패치일수록 "
        "많이 내준 패치이고, 밝기는 가장 밝은 패치를 기준으로 해요. CLS나 레지스터가 받은 몫은 "
        "그리지 않아요.",
        "lesson_rollout": "롤아웃",
        "lesson_rollout_text": "층 하나는 한 걸음만 보여 줘요. 롤아웃은 헤드 평균을 낸 모든 "
        "층의 걸음을 곱하고, 층을 건너뛰는 지름길을 절반으로 쳐요. 그래서 토큰의 내용이 어느 "
        "패치에서 왔는지 어림할 수 있어요(Abnar & Zuidema 2020).",
        "lesson_caution": "그래도 설명은 아니에요",
        "lesson_caution_text": "어텐션은 모델이 어디를 보는지 보여 줄 뿐, 왜 그렇게 답하는지는 "
        "알려 주지 않아요. 얼마나 가져왔는지보다 무엇을 가져왔는지, 그리고 그 사이의 층들이 더 "
        "중요할 때가 많아요. 직접 확인해 보세요. 가장 많이 본 패치를 가린 답과 같은 수를 "
        "무작위로 가린 답을 비교하면 돼요.",
    },
}


def explain(error: MmfmError, words: dict[str, str]) -> str:
    """Say what went wrong to a visitor, without naming a file of the server."""
    if isinstance(error, UnreadablePicture):
        return words["unreadable"].format(reason=error.reason)
    kind = "bad_value" if isinstance(error, BadInput) else "other_error"
    return words[kind].format(reason=error)
