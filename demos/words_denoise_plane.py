"""What the plane says, in English and Korean; a key means the same in both."""

from .words import COMMON

WORDS: dict[str, dict[str, str]] = {
    "en": {
        **COMMON["en"],
        "heading": "The same on a sheet of paper",
        "intro": "A digit of 28 × 28 pixels is one point among 784 numbers, which nobody can "
        "see. Here a “picture” has two numbers only. So it is a dot on paper, and all of "
        "diffusion can be watched: the noise, the network’s arrows, and the way of every dot.",
        "points": "1 · Points to learn",
        "points_note": "The network shall learn to make dots like these.",
        "shape_moons": "Two moons",
        "shape_spiral": "Spiral",
        "shape_rings": "Rings",
        "shape_checkerboard": "Board",
        "shape_clusters": "Heaps",
        "shape_letter": "Letter M",
        "shape_yours": "Your own",
        "count": "How many",
        "points_now": "{count} points",
        "pad_label": "Paper with {count} points. Drag to draw points of your own. By keyboard: "
        "arrow keys move the pen, Space leaves a point, Backspace takes the last one away.",
        "pad_note": "Draw your own: drag on the paper. Or with the keyboard: arrow keys, Space, "
        "Backspace.",
        "undo": "Undo",
        "clear": "Clear",
        "too_few": "Draw at least {least} points.",
        "full": "The paper is full: {most} points.",
        "tries": "2 · What to try",
        "tries_label": "Things to try",
        "try_one": "Watch one learn",
        "try_one_note": "A network sees the points under noise, some hundred thousand times, and "
        "learns which way is out. Then dots of pure noise follow its arrows.",
        "try_schedule": "Straight or bent?",
        "try_schedule_note": "The same question, the same sampler, but noise comes in two ways: "
        "evenly (flow), or late and then all at once (linear). How the noise came decides how "
        "bent the way back is.",
        "try_ahead": "Look ahead?",
        "try_ahead_note": "Euler follows the arrow where it stands. Heun looks where that leads, "
        "asks again there, and takes the mean of both.",
        "try_asked": "What to ask for?",
        "try_asked_note": "Four networks see the same noisy dots. One is asked for the noise, "
        "one for the clean point, two for the way between. All of them take 64 small steps.",
        "try_chance": "With dice or without?",
        "try_chance_note": "DDIM walks straight. DDPM adds a little fresh noise after each step, "
        "as it was done first.",
        "try_memory": "Learned or known?",
        "try_memory_note": "With a finite set of points the best answer can be computed exactly, "
        "without any network. Side by side: what was learned, and what is exact.",
        "try_back": "There and back?",
        "try_back_note": "Points are led back to the noise that they would come from, and then "
        "forwards again: by DDIM, and by DDPM with its dice.",
        "try_all": "All six samplers",
        "try_all_note": "The same network, the same noise, eight steps each.",
        "try_own": "Your own",
        "try_own_note": "Any ways side by side, with the same noise.",
        "change": "Change it",
        "panel": "Panel {letter}",
        "schedule": "Schedule",
        "objective": "Asked for",
        "sampler": "Sampler",
        "steps": "Steps",
        "answers": "Answer",
        "learned": "learned",
        "exact": "exact",
        "add": "Add a panel",
        "remove": "Remove panel {letter}",
        "back": "Start at the points: back to noise, and there again",
        "other_noise": "Other noise",
        "go": "Go",
        "go_on": "Go on",
        "anew": "Teach anew",
        "stop": "Stop",
        "ask_steps": "First your guess: which one needs fewer steps?",
        "ask_near": "First your guess: which one ends nearer to the points?",
        "ask_copies": "First your guess: which one only repeats the points that it was shown?",
        "ask_back": "First your guess: which one comes back to where it began?",
        "same": "About the same",
        "skip": "Just show me",
        "watch": "3 · Watch",
        "before": "Grey are the points, in colour is noise. Press “Go”: a network learns to lead "
        "the one to the other.",
        "starting": "It begins …",
        "stopping": "It stops …",
        "measuring": "All ways are walked …",
        "learning": "Learning: step {step} of {of}",
        "knows": "Learned in {of} steps",
        "halted": "Stopped after {step} of {of} steps",
        "no_network": "No network: computed from the points",
        "loss_label": "How the loss fell",
        "lost": "The server has forgotten this visit. Press “Go” again.",
        "play": "Play",
        "pause": "Pause",
        "time": "Time",
        "time_noise": "noise",
        "time_points": "points",
        "time_now": "{percent} noise",
        "arrows": "Arrows",
        "trails": "Ways",
        "whose": "Whose answer?",
        "whose_learned": "Learned",
        "whose_exact": "Exact",
        "legend": "Grey: the points to learn. In colour: what comes out of the noise. Arrows: "
        "where a dot that stands there is sent at this time; the longer, the faster.",
        "panel_label": "{name}. {facts}",
        "one_step": "1 step",
        "many_steps": "{steps} steps",
        "distance": "Distance",
        "distance_title": "Energy distance between what came out and the points: 0 if they are "
        "alike",
        "copies": "Copies",
        "copies_title": "Dots that lie on one of the points; a few do by chance",
        "needs": "Needs",
        "needs_title": "Steps until it is about as near as the best one here gets",
        "needs_more": "over {most} steps",
        "returned": "Misses by",
        "returned_title": "How far from where it began a dot comes back, on average",
        "won_steps": "{who} needs the fewest steps: {value}.",
        "tied_steps": "{who} need equally few steps: {value}.",
        "won_near": "{who} ends nearest to the points.",
        "tied_near": "{who} end about equally near.",
        "won_copies": "{who} repeats most: {value} of its dots lie on a point that was shown.",
        "tied_copies": "{who} repeat about equally often: up to {value} of the dots.",
        "won_back": "{who} comes back best: {value} away from where it began.",
        "tied_back": "{who} come back about equally well: at best {value} away.",
        "right": "As you guessed!",
        "wrong": "Your guess was {guess}.",
        "and": "{some} and {last}",
        "why_schedule": "Each step is a straight line. Where the way bends, a long step leaves "
        "it, so a bent way has to be walked in more steps.",
        "why_ahead": "Heun asks twice a step, so count questions, too: 8 steps of Heun cost 15, "
        "8 of Euler 8.",
        "why_asked": "Whoever knows one answer knows the others, but mistakes weigh differently. "
        "Asked for the clean point, a network may be careless where little noise is left, and "
        "its dots stay fuzzy. Asked for the noise, it learns nothing from pure noise: look at "
        "one step in the chart.",
        "why_chance": "Fresh noise after each step forgives mistakes of the steps before, but "
        "needs many small ones to be undone. Without dice one can take long steps.",
        "why_memory": "The exact answer knows these points and nothing else, so all that it can "
        "do is to give them back. The network can’t bend so sharply, and fills the gaps between "
        "the points: that is why a diffusion model makes new pictures and not only old ones.",
        "why_back": "Without dice every point has one noise of its own, and one can go back and "
        "forth. With dice the way back leads elsewhere. So pictures are edited by samplers like "
        "DDIM.",
        "why_all": "With many steps all of them arrive. With few it shows who looks further: "
        "ahead, back, or only at the arrow.",
        "chart": "Distance to the points, by number of steps",
        "chart_note": "Lower is nearer. Below the dotted line nobody sees a difference to the "
        "best.",
        "save_png": "Save picture",
        "save_gif": "Save film",
        "saving": "It is being drawn …",
        "open_saved": "Open a saved picture",
        "drop_note": "Pictures and films hold their settings: drop one here, and it comes to "
        "life again.",
        "unsigned": "This picture holds no settings of mmfm.",
        "later": "This picture was saved by a later version of mmfm.",
        "not_plane": "This picture was made elsewhere in mmfm: open it there.",
        "damaged": "This is no picture, or the settings in it are damaged or not possible here. "
        "Nothing was changed.",
        "too_large": "No picture of at most {most} MB was sent.",
        "impossible": "That is not possible here, and nothing was changed. Load the page anew, and "
        "try again.",
        "lessons": "What am I looking at?",
        "lesson_arrows": "The arrows",
        "lesson_arrows_text": "A diffusion model is a field of arrows that changes with time. In "
        "strong noise all arrows point at the middle: nothing more can be known. Later they "
        "part, each towards the points nearby. A sampler is a way to follow them in few steps.",
        "lesson_exact": "Learning by heart",
        "lesson_exact_text": "The error that training makes small has a best answer: the mean of "
        "all points that could lie below the noise. It is a softmax over the distances to all "
        "points, and it only ever makes these points. That a network does not quite reach it is "
        "its whole worth.",
        "lesson_bend": "Schedule and question",
        "lesson_bend_text": "The schedule says how quickly noise comes; the way between noise "
        "and point bends with it. The question says in which form the answer comes: noise, "
        "point, or a mix of both. Each can be turned into each other, but mistakes weigh "
        "differently.",
    },
    "ko": {
        **COMMON["ko"],
        "heading": "종이 위의 확산 모델",
        "intro": "28 × 28픽셀 숫자 그림은 숫자 784개로 된 공간의 점 하나예요. 그 공간은 눈으로 "
        "볼 수 없죠. 그래서 여기서는 ‘그림’이 숫자 두 개뿐이에요. 그림 한 장이 종이 위의 점 "
        "하나라서 노이즈도, 신경망의 화살표도, 점이 지나는 길도 모두 볼 수 있어요.",
        "points": "1 · 배울 점들",
        "points_note": "신경망은 이런 점을 만드는 법을 배워요.",
        "shape_moons": "두 초승달",
        "shape_spiral": "나선",
        "shape_rings": "고리",
        "shape_checkerboard": "체스판",
        "shape_clusters": "무리",
        "shape_letter": "글자 M",
        "shape_yours": "내 그림",
        "count": "점의 수",
        "points_now": "점 {count}개",
        "pad_label": "점 {count}개가 있는 종이예요. 끌어서 점을 그릴 수 있어요. 키보드로는 "
        "화살표 키로 펜을 옮기고, 스페이스로 점을 찍고, 백스페이스로 마지막 점을 지워요.",
        "pad_note": "직접 그려 보세요. 종이 위를 끌면 돼요. 키보드로는 화살표 키, 스페이스, "
        "백스페이스를 쓰세요.",
        "undo": "되돌리기",
        "clear": "모두 지우기",
        "too_few": "점을 {least}개 이상 그려 주세요.",
        "full": "종이가 가득 찼어요. 점은 {most}개까지예요.",
        "tries": "2 · 해 볼 것",
        "tries_label": "해 볼 만한 실험",
        "try_one": "배우는 모습 보기",
        "try_one_note": "신경망은 노이즈에 덮인 점을 수십만 번 보면서 어느 쪽이 밖인지 배워요. "
        "그다음 순수한 노이즈에서 나온 점들이 화살표를 따라가요.",
        "try_schedule": "곧은 길, 굽은 길?",
        "try_schedule_note": "질문도 샘플러도 같지만 노이즈가 오는 방식이 달라요. 고르게 "
        "오거나(flow), 뒤늦게 한꺼번에 와요(linear). 노이즈가 온 방식에 따라 돌아가는 길이 "
        "얼마나 굽는지 정해져요.",
        "try_ahead": "앞을 내다보면?",
        "try_ahead_note": "오일러는 서 있는 곳의 화살표를 따라가요. 호인은 그 끝을 먼저 보고 "
        "거기서 한 번 더 물은 뒤, 두 화살표의 평균을 따라가요.",
        "try_asked": "무엇을 물을까?",
        "try_asked_note": "네 신경망이 같은 점을 봐요. 하나에게는 노이즈를, 하나에게는 깨끗한 "
        "점을, 둘에게는 그 사이의 방향을 물어요. 모두 작은 걸음으로 64번 걸어요.",
        "try_chance": "주사위를 던질까?",
        "try_chance_note": "DDIM은 곧장 걸어요. 처음 나온 방법인 DDPM은 걸음마다 새 노이즈를 "
        "조금 더해요.",
        "try_memory": "배운 답, 정확한 답?",
        "try_memory_note": "점의 수가 정해져 있으면 가장 좋은 답을 신경망 없이 정확히 계산할 수 "
        "있어요. 배운 답과 정확한 답을 나란히 놓고 보세요.",
        "try_back": "갔다가 돌아오면?",
        "try_back_note": "점을 원래 나왔을 노이즈로 되돌렸다가 다시 점으로 이끌어요. 하나는 "
        "DDIM으로, 하나는 주사위를 던지는 DDPM으로요.",
        "try_all": "샘플러 여섯 가지",
        "try_all_note": "같은 신경망, 같은 노이즈로 여덟 걸음씩 걸어요.",
        "try_own": "내 마음대로",
        "try_own_note": "같은 노이즈로 원하는 방법을 나란히 비교해요.",
        "change": "바꿔 보기",
        "panel": "칸 {letter}",
        "schedule": "스케줄",
        "objective": "묻는 것",
        "sampler": "샘플러",
        "steps": "걸음 수",
        "answers": "답",
        "learned": "배운 답",
        "exact": "정확한 답",
        "add": "칸 더하기",
        "remove": "칸 {letter} 빼기",
        "back": "점에서 시작하기: 노이즈로 갔다가 다시 돌아와요",
        "other_noise": "다른 노이즈",
        "go": "시작",
        "go_on": "이어서 하기",
        "anew": "처음부터 가르치기",
        "stop": "멈추기",
        "ask_steps": "먼저 맞혀 보세요. 어느 쪽이 더 적은 걸음으로 될까요?",
        "ask_near": "먼저 맞혀 보세요. 어느 쪽이 점들에 더 가까이 갈까요?",
        "ask_copies": "먼저 맞혀 보세요. 어느 쪽이 본 점을 그대로 되풀이할까요?",
        "ask_back": "먼저 맞혀 보세요. 어느 쪽이 출발한 곳으로 돌아올까요?",
        "same": "비슷해요",
        "skip": "그냥 보여 주세요",
        "watch": "3 · 지켜보기",
        "before": "회색은 점, 색이 있는 것은 노이즈예요. ‘시작’을 누르면 신경망이 노이즈를 "
        "점으로 이끄는 법을 배워요.",
        "starting": "시작하고 있어요 …",
        "stopping": "멈추고 있어요 …",
        "measuring": "모든 길을 걸어 보고 있어요 …",
        "learning": "배우는 중: {of}단계 가운데 {step}",
        "knows": "{of}단계 동안 배웠어요",
        "halted": "{of}단계 가운데 {step}에서 멈췄어요",
        "no_network": "신경망 없이 점들로 계산했어요",
        "loss_label": "손실이 줄어든 모습",
        "lost": "서버가 이번 방문을 잊었어요. ‘시작’을 다시 눌러 주세요.",
        "play": "재생",
        "pause": "잠시 멈춤",
        "time": "시간",
        "time_noise": "노이즈",
        "time_points": "점",
        "time_now": "노이즈 {percent}",
        "arrows": "화살표",
        "trails": "지나온 길",
        "whose": "누구의 답?",
        "whose_learned": "배운 답",
        "whose_exact": "정확한 답",
        "legend": "회색은 배울 점, 색이 있는 것은 노이즈에서 나온 점이에요. 화살표는 그 시간에 "
        "그 자리의 점이 가는 방향이고, 길수록 빨라요.",
        "panel_label": "{name}. {facts}",
        "one_step": "1걸음",
        "many_steps": "{steps}걸음",
        "distance": "거리",
        "distance_title": "나온 점들과 배울 점들 사이의 에너지 거리예요. 서로 같으면 0이에요",
        "copies": "복사",
        "copies_title": "배운 점 위에 놓인 점의 비율이에요. 우연히 그런 점도 조금 있어요",
        "needs": "필요한 걸음",
        "needs_title": "여기서 가장 좋은 것만큼 가까워질 때까지의 걸음 수예요",
        "needs_more": "{most}걸음 넘게",
        "returned": "어긋남",
        "returned_title": "돌아온 점이 출발한 곳에서 평균 얼마나 떨어져 있는지예요",
        "won_steps": "{who} 쪽이 가장 적은 걸음으로 돼요: {value}.",
        "tied_steps": "{who} 모두 똑같이 적은 걸음으로 돼요: {value}.",
        "won_near": "{who} 쪽이 점들에 가장 가까워요.",
        "tied_near": "{who} 모두 비슷하게 가까워요.",
        "won_copies": "{who} 쪽이 가장 많이 되풀이해요. {value}가 배운 점 위에 있어요.",
        "tied_copies": "{who} 모두 비슷하게 되풀이해요. 많아야 {value}예요.",
        "won_back": "{who} 쪽이 가장 잘 돌아와요. 출발한 곳에서 {value} 떨어져 있어요.",
        "tied_back": "{who} 모두 비슷하게 돌아와요. 가장 가까운 것이 {value} 떨어져 있어요.",
        "right": "맞혔어요!",
        "wrong": "고른 답은 {guess}였어요.",
        "and": "{some}, {last}",
        "why_schedule": "한 걸음은 곧은 선이에요. 길이 굽은 곳에서 크게 걸으면 길을 벗어나요. "
        "그래서 굽은 길은 더 여러 걸음으로 걸어야 해요.",
        "why_ahead": "호인은 한 걸음에 두 번 물어요. 그러니 질문 수도 세어 보세요. 호인의 "
        "8걸음은 15번, 오일러의 8걸음은 8번이에요.",
        "why_asked": "하나를 알면 나머지도 알 수 있지만 실수의 무게가 달라요. 깨끗한 점을 물으면 "
        "노이즈가 조금 남았을 때 대충 답해도 되어서 점들이 흐릿하게 남아요. 노이즈를 물으면 "
        "순수한 노이즈에서는 배울 것이 없어요. 그래프에서 1걸음을 보세요.",
        "why_chance": "걸음마다 더하는 새 노이즈는 앞선 실수를 덮어 주지만, 그것을 지우려면 작은 "
        "걸음이 많이 필요해요. 주사위가 없으면 크게 걸을 수 있어요.",
        "why_memory": "정확한 답은 이 점들밖에 몰라서 그대로 돌려줄 수만 있어요. 신경망은 그렇게 "
        "날카롭게 굽지 못해서 점 사이의 빈 곳을 채워요. 확산 모델이 본 그림만이 아니라 새 그림을 "
        "만드는 까닭이에요.",
        "why_back": "주사위가 없으면 점마다 제 노이즈가 하나씩 있어서 오갈 수 있어요. 주사위를 "
        "던지면 다른 곳으로 가요. 그래서 그림을 고칠 때는 DDIM 같은 샘플러를 써요.",
        "why_all": "걸음이 많으면 모두 도착해요. 적을 때는 누가 더 멀리 보는지 드러나요. 앞을 "
        "보는지, 뒤를 보는지, 화살표만 보는지요.",
        "chart": "걸음 수에 따른 점들과의 거리",
        "chart_note": "낮을수록 가까워요. 점선 아래에서는 가장 좋은 것과 차이가 보이지 않아요.",
        "save_png": "그림 저장",
        "save_gif": "영상 저장",
        "saving": "그리고 있어요 …",
        "open_saved": "저장한 그림 열기",
        "drop_note": "그림과 영상에는 설정이 들어 있어요. 여기에 끌어다 놓으면 되살아나요.",
        "unsigned": "이 그림에는 mmfm 설정이 없어요.",
        "later": "더 새로운 mmfm에서 저장한 그림이에요.",
        "not_plane": "mmfm의 다른 곳에서 만든 그림이에요. 그곳에서 열어 주세요.",
        "damaged": "그림이 아니거나, 그림에 든 설정이 손상됐거나 여기서 쓸 수 없어요. 아무것도 "
        "바꾸지 않았어요.",
        "too_large": "그림을 받지 못했어요. {most}MB 이하의 그림을 보내 주세요.",
        "impossible": "여기서는 할 수 없는 요청이라 아무것도 바꾸지 않았어요. 페이지를 새로 고치고 "
        "다시 해 보세요.",
        "lessons": "지금 무엇을 보고 있나요?",
        "lesson_arrows": "화살표",
        "lesson_arrows_text": "확산 모델은 시간에 따라 바뀌는 화살표들이에요. 노이즈가 강할 때는 "
        "모든 화살표가 한가운데를 가리켜요. 그 이상은 알 수 없으니까요. 나중에는 갈라져서 저마다 "
        "가까운 점을 향해요. 샘플러는 적은 걸음으로 화살표를 따라가는 방법이에요.",
        "lesson_exact": "외운다는 것",
        "lesson_exact_text": "학습이 줄이려는 오차에는 가장 좋은 답이 있어요. 노이즈 아래에 있을 "
        "만한 모든 점의 평균이에요. 모든 점까지의 거리에 소프트맥스를 쓴 것이고, 이 점들밖에 "
        "만들지 못해요. 신경망이 거기에 다 이르지 못한다는 것이 바로 신경망의 가치예요.",
        "lesson_bend": "스케줄과 질문",
        "lesson_bend_text": "스케줄은 노이즈가 얼마나 빨리 오는지를 말하고, 노이즈와 점 사이의 "
        "길은 그에 따라 굽어요. 질문은 답의 모양을 정해요. 노이즈, 점, 또는 둘을 섞은 것이죠. "
        "서로 바꿀 수 있지만 실수의 무게가 달라요.",
    },
}
